-- The ledger's one write: a batch of transitions in one atomic step, fenced by the leader's incarnation and beat.
--
-- Rules it keeps:
--   * Who is not the leader, or speaks of a beat that is not the last one written, changes nothing (FENCED), but the
--     count of what was refused.
--   * A lease is known by its token. A token that is not held changes nothing (stale).
--   * Steps of a job are accepted one after the other: an old one changes nothing (again), and a step that skips one is
--     refused (gap), since what came with the skipped one would be lost.
--   * Counts come in absolute; the difference to what is held is added. Discoveries enter once, by the seen set.
--   * What was announced is what was accepted, in the same step.
-- Ids, cursors and tokens are opaque strings here: Lua's numbers are doubles. No clock, no random: the same calls in
-- the same order make the same ledger, which is what the simulation replays.
--
-- KEYS[1] the lead; ARGV[1] the prefix of all keys of this crawl; ARGV[2] the request, msgpack.
local P = ARGV[1]
local req = cmsgpack.unpack(ARGV[2])
local call = redis.call
local LEAD, HELD, TOTALS, SETS, LOG = KEYS[1], P .. 'held', P .. 'totals', P .. 'sets', P .. 'log'
local function whole(n) return string.format('%.0f', n) end
local function fenced(why)
  call('HINCRBY', TOTALS, 'refused', 1)
  return redis.error_reply('FENCED ' .. why)
end

-- A script that fails half way has written half. So it asks before its first write whether its user may do all of it; a
-- server before Redis 7 cannot say so.
local COMMANDS = {}
for words in string.gmatch('DEL k, HDEL k f, HGET k f, HGETALL k, HINCRBY k f 1, HLEN k, HMGET k f, HSET k f v, LLEN k, '
  .. 'LPOP k 1, LPUSH k v, LRANGE k 0 1, LTRIM k 0 1, RPUSH k v, SADD k v, SISMEMBER k v, SMEMBERS k, SREM k v', '[^,]+') do
  local one = {}
  for word in string.gmatch(words, '%S+') do one[#one + 1] = word == 'k' and P .. 'queue:T' or word end
  COMMANDS[#COMMANDS + 1] = one
end
local function refused()
  for _, one in ipairs(redis.acl_check_cmd and COMMANDS or {}) do
    if not redis.acl_check_cmd(unpack(one)) then
      return redis.error_reply('NOPERM its user may not ' .. one[1] .. ' the keys that begin with ' .. P)
    end
  end
end

-- Taking the lead: compare-and-set on what the candidate saw. {'take', incarnation, seen incarnation, seen beat,
-- highest epoch witnessed elsewhere, ledger id, name}
if req[1] == 'take' then
  local now = call('HMGET', LEAD, 'incarnation', 'beat', 'epoch', 'id')
  if (now[1] or '') ~= req[3] or (now[2] or '0') ~= whole(req[4]) then
    return redis.error_reply('FENCED another incarnation leads, or the beat went on')
  end
  local forbidden = refused()
  if forbidden then return forbidden end
  local epoch = math.max(tonumber(now[3] or '0'), req[5]) + 1
  call('HSET', LEAD, 'incarnation', req[2], 'beat', '1', 'epoch', whole(epoch), 'id', now[4] or req[6], 'name', req[7],
    'ended', '')
  return cmsgpack.pack({ whole(epoch), now[4] or req[6] })
end

-- Giving the lead back, so that the next master need not watch a beat that stands still. {'release', incarnation, beat
-- seen, how the crawl ended, or '' when it goes on}
if req[1] == 'release' then
  local now = call('HMGET', LEAD, 'incarnation', 'beat')
  if now[1] ~= req[2] or now[2] ~= whole(req[3]) then return fenced('another incarnation leads') end
  call('HSET', LEAD, 'incarnation', '', 'beat', '0', 'ended', req[4])
  return cmsgpack.pack({})
end

-- {'commit', incarnation, beat seen, transitions, queues whose lengths are wanted, max users (0: no limit), log cap
-- in bytes, set into which accounts that are new to the crawl are put as well, or '', the sequence that all who read the
-- log have passed (-1: nobody reads it), how many bytes of the log are kept for those who come late}
local incarnation = req[2]
local lead = call('HMGET', LEAD, 'incarnation', 'beat')
if lead[1] ~= incarnation then return fenced('another incarnation leads') end
if lead[2] ~= whole(req[3]) then return fenced('the beat is not the one that was written last') end
local forbidden = refused()
if forbidden then return forbidden end
-- For the same reason what it writes is known to be of its kind before.
for name in string.gmatch('held totals sets levels heads retry dead crawl readers dropped', '%a+') do call('HLEN', P .. name) end
call('LLEN', LOG); call('LLEN', P .. 'reigns'); for _, name in ipairs(req[5]) do call('LLEN', P .. 'queue:' .. name) end
local transitions, max_users = req[4], req[6]
local OPERATIONS = { 'T', 'F', 'A', 'U' }

local totals = {}
local function count(name, by) totals[name] = (totals[name] or 0) + by end

-- Sets of ids, split by hash into buckets small enough for the server's compact encoding of integers (at most 512
-- members). Linear hashing: the buckets are split one by one in order, so that the mean stays below SPREAD and a
-- bucket that still waits for its split holds twice that on average, 400 at the very most.
local SPREAD = 140
local sets = {}
local function family(name)
  local f = sets[name]
  if not f then
    local v = call('HMGET', SETS, name .. '.members', name .. '.buckets')
    f = { prefix = P .. 'set:' .. name .. ':', members = tonumber(v[1] or '0'), buckets = tonumber(v[2] or '1') }
    f.level = 1
    while f.level * 2 <= f.buckets do f.level = f.level * 2 end
    sets[name] = f
  end
  return f
end
local function hash(id) return tonumber(string.sub(redis.sha1hex(id), 1, 7), 16) end
local function bucket(f, id)
  local h = hash(id)
  local b = h % (f.level * 2)
  if b >= f.buckets then b = h % f.level end
  return f.prefix .. whole(b)
end
local function split(f)
  local from, to, modulus = f.buckets - f.level, f.buckets, f.level * 2
  local key, stay, move = f.prefix .. whole(from), {}, {}
  for _, id in ipairs(call('SMEMBERS', key)) do
    if hash(id) % modulus == to then move[#move + 1] = id else stay[#stay + 1] = id end
  end
  if #move > 0 then
    call('DEL', key) -- and made anew: a set that once outgrew the compact encoding never returns to it
    for first = 1, #stay, 4000 do call('SADD', key, unpack(stay, first, math.min(first + 3999, #stay))) end
    for first = 1, #move, 4000 do call('SADD', f.prefix .. whole(to), unpack(move, first, math.min(first + 3999, #move))) end
  end
  f.buckets = f.buckets + 1
  if f.buckets == f.level * 2 then f.level = f.buckets end
end
local function add(f, id)
  if call('SADD', bucket(f, id), id) == 0 then return false end
  f.members, f.changed = f.members + 1, true
  if f.members > f.buckets * SPREAD then split(f) end
  return true
end
local function take(f, id)
  if f.members == 0 or call('SREM', bucket(f, id), id) == 0 then return false end
  f.members, f.changed = f.members - 1, true
  return true
end
local function has(f, id) return f.members > 0 and call('SISMEMBER', bucket(f, id), id) == 1 end

-- Records bound for queues, pushed together at the end of the batch in the order in which they came.
local queues, order = {}, {}
local function push(name, record, front)
  local q = queues[name]
  if not q then
    q = { front = {}, back = {} }
    queues[name] = q
    order[#order + 1] = name
  end
  local side = front and q.front or q.back
  side[#side + 1] = record
end
local function pour(name)
  local q = queues[name]
  if not q then return end
  local key = P .. 'queue:' .. name
  for first = 1, #q.back, 4000 do call('RPUSH', key, unpack(q.back, first, math.min(first + 3999, #q.back))) end
  if #q.front > 0 then -- LPUSH turns the order round: the first of them shall be the next one out
    local turned, n = {}, #q.front
    for i = 1, n do turned[i] = q.front[n + 1 - i] end
    for first = 1, n, 4000 do call('LPUSH', key, unpack(turned, first, math.min(first + 3999, n))) end
  end
  q.front, q.back = {}, {}
end

-- Discoveries: {queue, front, level or '', id, record, id, record, …}. An empty queue collects ids for the frontier file.
local function discover(found)
  if not found or #found < 4 then return end
  local seen, seeds = family('seen'), family('seeds')
  local queue, front, level, added = found[1], found[2], found[3], 0
  for i = 4, #found, 2 do
    local id = found[i]
    if has(seeds, id) then
      count('known', 1)
    elseif queue == '' then
      if not has(seen, id) and add(family('collected'), id) then push('collected', id) end
    elseif max_users > 0 and seen.members >= max_users then
      if not has(seen, id) then count('turned away', 1) end
    elseif add(seen, id) then
      if req[8] ~= '' then add(family(req[8]), id) end
      push(queue, found[i + 1], front)
      added = added + 1
    end
  end
  if added > 0 then
    count('discovered', added)
    if level ~= '' then call('HINCRBY', P .. 'levels', level, added) end
  end
end

-- The log of announcements: what a subscriber reads again. Trimmed from its head: to what is not passed yet, and to the
-- cap. `reigns` tells which incarnation gave which sequences: {incarnation, the first one}, one after the other.
local heads, sequence, log_bytes, reign
local entries, at = {}, 0
local told = { 0 } -- the first sequence of this commit; then, for each: which transition, and the topic's one before
local function announce(what)
  if not what or #what == 0 then return end
  if not heads then
    heads = {}
    local flat = call('HGETALL', P .. 'heads')
    for i = 1, #flat, 2 do
      if flat[i] == 'reign' then reign = flat[i + 1] else heads[flat[i]] = tonumber(flat[i + 1]) end
    end
    sequence, log_bytes = heads[''] or 0, heads['bytes'] or 0
    told[1] = sequence + 1
  end
  sequence = sequence + 1
  told[#told + 1] = at
  told[#told + 1] = heads[what[1]] or 0
  count('announced.' .. what[1], 1)
  local entry = cmsgpack.pack({ sequence, heads[what[1]] or 0, what[1], what[2] })
  heads[what[1]] = sequence
  log_bytes = log_bytes + #entry
  entries[#entries + 1] = entry
end

-- What is held under the tokens that this batch names, read at once.
local held, changed = {}, {}
do
  local tokens = {}
  for _, t in ipairs(transitions) do
    if string.find('PDXBRKV', t[1], 1, true) then tokens[#tokens + 1] = t[2] end
  end
  if #tokens > 0 then
    for i, packed in ipairs(call('HMGET', HELD, unpack(tokens))) do
      if packed then held[tokens[i]] = cmsgpack.unpack(packed) end
    end
  end
end
local function put(token, lease) held[token] = lease; changed[token] = true end
local function drop(token) held[token] = nil; changed[token] = true end
local function read(record)
  local first = string.byte(record)
  local operation = OPERATIONS[first % 8 + 1]
  if first % 16 >= 8 then
    local steps, records = struct.unpack('>I4I6', record, 2)
    return operation, steps, records
  end
  return operation, 0, 0
end

local OK, STALE, AGAIN, GAP = 1, 0, 2, 3
local tokens_given
local handlers = {}

-- {'L', queues, how many, worker, budget, granted, front?}: hand out jobs; each gets a token of its own.
function handlers.L(t)
  local out = {}
  if not tokens_given then tokens_given = tonumber(call('HGET', TOTALS, 'tokens') or '0') end
  for _, queue in ipairs(t[2]) do
    local want = t[3] - #out / 2
    if want <= 0 then break end
    pour(queue)
    for _, record in ipairs(call('LPOP', P .. 'queue:' .. queue, want) or {}) do
      tokens_given = tokens_given + 1
      local token = incarnation .. ':' .. whole(tokens_given)
      put(token, { record, t[4], t[5], t[6] })
      out[#out + 1] = token
      out[#out + 1] = record
    end
  end
  return out
end

-- Whether a transition speaks of the step after the one that is held: its status, and the lease with what it has.
local function next_step(t)
  local lease = held[t[2]]
  if not lease then return STALE end
  local operation, steps, records = read(lease[1])
  if t[3] <= steps then return AGAIN end
  if t[3] > steps + 1 then return GAP end
  return OK, lease, operation, records
end

-- {'P', token, step, count, record, discoveries, announcement, budget, granted}: one more page is stored.
function handlers.P(t)
  local status, lease, operation, records = next_step(t)
  if status ~= OK then return status end
  discover(t[6])
  count(operation .. '.records', t[4] - records)
  count(operation .. '.steps', 1)
  put(t[2], { t[5], lease[2], t[8], t[9] })
  announce(t[7])
  return OK
end

-- An analysis that ended for want of a list, and a list that came by itself, with no analysis behind it: whichever of
-- the two is second brings the analysis back. {account, queue, record, front, level}: the analysis.
local function again(analysis)
  push(analysis[2], analysis[3], analysis[4])
  count('A.again', 1)
  if analysis[5] ~= '' then call('HINCRBY', P .. 'levels', analysis[5], 1) end
end
local function meet(analysis, one, other)
  if take(family(other), analysis[1]) then again(analysis) else add(family(one), analysis[1]) end
end

-- {'D', token, step, count, outcome, next queue, next record, front, level that has one less to wait for, discoveries,
-- announcement, analysis, set, account, in it?}: the job is done, and its dataset is stored. `analysis`, or '', is that
-- which has no list, or whose list this is. What stands behind it is there of workers that store nothing, or may:
-- whether the set holds the account.
function handlers.D(t)
  local status, lease, operation, records = next_step(t)
  if status ~= OK then return status end
  discover(t[10])
  count(operation .. '.records', t[4] - records)
  count(operation .. '.done', 1)
  count(operation .. '.' .. t[5], 1)
  if t[6] ~= '' then push(t[6], t[7], t[8]) end
  if t[9] ~= '' then call('HINCRBY', P .. 'levels', t[9], -1) end
  drop(t[2])
  announce(t[11])
  if t[12] and t[12] ~= '' then
    if operation == 'A' then meet(t[12], 'unlisted', 'listed') else meet(t[12], 'listed', 'unlisted') end
  end
  if t[13] then
    local f = family(t[13])
    if not t[15] then
      take(f, t[14])
    else
      count(operation .. '.unstored', t[4])
      add(f, t[14])
    end
  end
  return OK
end

-- {'X', token, step, discoveries}: part of the discoveries of a step that is too large for one commit.
function handlers.X(t)
  local status = next_step(t)
  if status ~= OK then return status end
  discover(t[4])
  return OK
end

-- {'B', token, queue, record or '' for as it is held, reason, to the end?}: the job goes back to the front of its queue;
-- after an outage to the end of those that were begun, so that another one tries next.
function handlers.B(t)
  local lease = held[t[2]]
  if not lease then return STALE end
  push(t[3], t[4] ~= '' and t[4] or lease[1], t[5] ~= 'outage' and not t[6])
  count('back.' .. t[5], 1)
  drop(t[2])
  return OK
end

-- A job that begins anew takes its count back.
local function recount(lease, record)
  local operation, _, records = read(lease[1])
  local _, _, now = read(record)
  count(operation .. '.records', now - records)
end

-- {'R', token, field, record, announcement}: the try failed; the job rests until it is woken.
function handlers.R(t)
  local lease = held[t[2]]
  if not lease then return STALE end
  recount(lease, t[4])
  call('HSET', P .. 'retry', t[3], t[4])
  count('retried', 1)
  drop(t[2])
  announce(t[5])
  return OK
end

-- {'W', field, queue}: a resting job is due again, behind those that are not known to fail.
function handlers.W(t)
  local record = call('HGET', P .. 'retry', t[2])
  if not record then return STALE end
  call('HDEL', P .. 'retry', t[2])
  push(t[3], record, false)
  return OK
end

-- {'K', token, field, letter, next queue, next record, front, level, announcement}: given up; the letter keeps all.
function handlers.K(t)
  local lease = held[t[2]]
  if not lease then return STALE end
  local operation = read(lease[1])
  call('HSET', P .. 'dead', t[3], t[4])
  count(operation .. '.dead', 1)
  if t[5] ~= '' then push(t[5], t[6], t[7]) end
  if t[8] ~= '' then call('HINCRBY', P .. 'levels', t[8], -1) end
  drop(t[2])
  announce(t[9])
  return OK
end

-- {'I', family, front, {id, queue, record, level, …}}: jobs for accounts that the family does not hold yet. An update takes
-- the place of the dead letter of an earlier round: else that could be tried again beside it. What a repair gives, whose
-- ids are OP:account, takes the place of a letter that was put away, and is to be stored.
function handlers.I(t)
  local letters = call('HLEN', P .. 'dead') > 0
  local f, added, levels = family(t[2]), 0, {}
  for i = 1, #t[4], 4 do
    local id, queue, level = t[4][i], t[4][i + 1], t[4][i + 3]
    if add(f, id) then
      if t[2] == 'seen' and req[8] ~= '' then add(family(req[8]), id) end
      push(queue, t[4][i + 2], t[3])
      added = added + 1
      if t[2] == 'repaired' then
        call('HDEL', P .. 'dropped', id)
        take(family('unstored.' .. string.sub(id, 1, 1)), string.sub(id, 3))
      end
      if letters and read(t[4][i + 2]) == 'U' and call('HDEL', P .. 'dead', 'U:' .. id) == 1 then count('U.dropped', 1) end
      if level ~= '' then levels[level] = (levels[level] or 0) + 1 end
    end
  end
  local names = {}
  for level in pairs(levels) do names[#names + 1] = level end
  table.sort(names)
  for _, level in ipairs(names) do call('HINCRBY', P .. 'levels', level, levels[level]) end
  count('intake.' .. t[2], added)
  return added
end

-- {'S', ids, family}: accounts known already, never to be discovered; or in another family that needs no job for them.
function handlers.S(t)
  local f, added = family(t[3] or 'seeds'), 0
  for _, id in ipairs(t[2]) do if add(f, id) then added = added + 1 end end
  return added
end

-- {'M', announcement}: said of the crawl itself, and of no job.
function handlers.M(t) announce(t[2]); return OK end

-- {'N', name, sequence or -1}: how far one who reads the log has come; -1 when it will read no more.
function handlers.N(t)
  if t[3] < 0 then return call('HDEL', P .. 'readers', t[2]) end
  call('HSET', P .. 'readers', t[2], whole(t[3]))
  return OK
end

-- {'Q', field, letter, queue, record, level, announcement, account, record}: a dead letter, as it was read, is to be
-- tried again, or put away for good (no queue). Of a follower list: where the analysis of the account ended for want of
-- it, the second record takes the place of the first, and has the analysis in its chain. `level` is the analysis's.
-- An update is in the round that is under way, which gives its account no second one.
function handlers.Q(t)
  if call('HGET', P .. 'dead', t[2]) ~= t[3] then return STALE end
  call('HDEL', P .. 'dead', t[2])
  local record, level = t[5], t[6]
  if t[8] and take(family('unlisted'), t[8]) then
    record = t[9]
    count('A.again', 1)
  elseif t[8] then
    level = ''
  end
  if t[4] ~= '' then
    push(t[4], record, false)
    count(read(record) .. '.revived', 1)
    if string.sub(t[2], 1, 2) == 'U:' then
      local now = call('HMGET', P .. 'crawl', 'round', 'updating')
      if now[1] and now[2] == 'yes' then add(family('updated' .. now[1]), string.sub(t[2], 3)) end
    end
  else
    call('HSET', P .. 'dropped', t[2], t[3])
    count(string.sub(t[2], 1, 1) .. '.dropped', 1)
  end
  if level ~= '' then call('HINCRBY', P .. 'levels', level, 1) end
  announce(t[7])
  return OK
end

-- {'V', token}: a lease of a job that is there twice; this one is forgotten, and changes no count.
function handlers.V(t)
  if not held[t[2]] then return STALE end
  drop(t[2])
  return OK
end

-- {'Z', hash, name, by}: a count is set right by what can be counted.
function handlers.Z(t)
  if t[2] == 'totals' then
    count(t[3], t[4])
  elseif t[2] == 'sets' then
    local f = family(t[3])
    f.members, f.changed = f.members + t[4], true
  else
    call('HINCRBY', P .. t[2], t[3], whole(t[4]))
  end
  return OK
end

-- {'G', how many, announcement}: the beginning of the log is let go, up to where it has a gap.
function handlers.G(t)
  announce(t[3])
  for first = 0, t[2] - 1, 256 do
    for _, entry in ipairs(call('LRANGE', LOG, first, math.min(first + 256, t[2]) - 1)) do log_bytes = log_bytes - #entry end
  end
  log_bytes = math.max(0, log_bytes)
  call('LTRIM', LOG, t[2], -1)
  return OK
end

-- {'C', field, value}: what the crawl remembers of itself.
function handlers.C(t) call('HSET', P .. 'crawl', t[2], t[3]); return OK end

-- {'E', family, first bucket, how many}: a set that has served is emptied, some buckets a commit.
function handlers.E(t)
  local f = family(t[2])
  for b = t[3], math.min(t[3] + t[4], f.buckets) - 1 do call('DEL', f.prefix .. whole(b)) end
  if t[3] + t[4] < f.buckets then return AGAIN end
  call('HDEL', SETS, t[2] .. '.members', t[2] .. '.buckets')
  sets[t[2]] = nil
  return OK
end

local statuses = {}
for i, t in ipairs(transitions) do at = i; statuses[i] = handlers[t[1]](t) end

-- One write of everything that was gathered.
for _, name in ipairs(order) do pour(name) end
local keep, away = {}, {}
for token in pairs(changed) do
  if held[token] then
    keep[#keep + 1] = token
    keep[#keep + 1] = cmsgpack.pack(held[token])
  else
    away[#away + 1] = token
  end
end
for first = 1, #keep, 4000 do call('HSET', HELD, unpack(keep, first, math.min(first + 3999, #keep))) end
for first = 1, #away, 4000 do call('HDEL', HELD, unpack(away, first, math.min(first + 3999, #away))) end
for name, f in pairs(sets) do
  if f.changed then call('HSET', SETS, name .. '.members', whole(f.members), name .. '.buckets', whole(f.buckets)) end
end
if tokens_given then call('HSET', TOTALS, 'tokens', whole(tokens_given)) end
for name, by in pairs(totals) do
  if by ~= 0 then call('HINCRBY', TOTALS, name, whole(by)) end
end
if #entries > 0 then
  call('RPUSH', LOG, unpack(entries))
  if reign ~= incarnation then
    call('RPUSH', P .. 'reigns', cmsgpack.pack({ incarnation, told[1] }))
    call('LTRIM', P .. 'reigns', -1000, -1)
  end
  while log_bytes > req[7] or (log_bytes > req[10] and req[9] >= 0) do
    local gone, oldest = 0, call('LRANGE', LOG, 0, 255)
    if #oldest == 0 then log_bytes = 0; break end
    if log_bytes <= req[7] and cmsgpack.unpack(oldest[#oldest])[1] > req[9] then break end
    for _, entry in ipairs(oldest) do gone = gone + #entry end
    call('LTRIM', LOG, #oldest, -1)
    log_bytes = log_bytes - gone
  end
  local flat = { '', whole(sequence), 'bytes', whole(log_bytes), 'reign', incarnation }
  for topic, last in pairs(heads) do
    if topic ~= '' and topic ~= 'bytes' then
      flat[#flat + 1] = topic
      flat[#flat + 1] = whole(last)
    end
  end
  call('HSET', P .. 'heads', unpack(flat))
end
call('HSET', LEAD, 'beat', whole(req[3] + 1))
local lengths = {}
for i, name in ipairs(req[5]) do lengths[i] = call('LLEN', P .. 'queue:' .. name) end
return cmsgpack.pack({
  statuses, lengths, call('HGETALL', P .. 'levels'),
  { call('HLEN', HELD), call('HLEN', P .. 'retry'), call('HLEN', P .. 'dead'), family('seen').members }, told,
})
