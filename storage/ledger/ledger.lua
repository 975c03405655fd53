-- The ledger's one write: a batch of transitions in one atomic step, fenced by the leader's incarnation and beat.
--
-- Rules it keeps:
--   * A caller that is not the leader, or names a beat that is not the last one written, changes nothing (FENCED) but
--     the count of what was refused.
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

-- A script that fails half way leaves half of its writes. So it checks its user's permissions before the first write; a
-- server before Redis 7 cannot check them.
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

-- Taking the lead: compare-and-set on what the candidate saw. `witness` is the highest epoch known elsewhere.
if req[1] == 'take' then
  local incarnation, seen_incarnation, seen_beat, witness, ledger_id, name = unpack(req, 2, 7)
  local now = call('HMGET', LEAD, 'incarnation', 'beat', 'epoch', 'id')
  if (now[1] or '') ~= seen_incarnation or (now[2] or '0') ~= whole(seen_beat) then
    return redis.error_reply('FENCED another incarnation leads, or the beat went on')
  end
  local forbidden = refused()
  if forbidden then return forbidden end
  local epoch = math.max(tonumber(now[3] or '0'), witness) + 1
  local id = now[4] or ledger_id
  call('HSET', LEAD, 'incarnation', incarnation, 'beat', '1', 'epoch', whole(epoch), 'id', id, 'name', name, 'ended', '')
  return cmsgpack.pack({ whole(epoch), id })
end

-- Releasing the lead, so that the next master need not wait for the lease to lapse. `ended` says how the crawl ended,
-- or is '' when it goes on.
if req[1] == 'release' then
  local incarnation, beat, ended = unpack(req, 2, 4)
  local now = call('HMGET', LEAD, 'incarnation', 'beat')
  if now[1] ~= incarnation or now[2] ~= whole(beat) then return fenced('another incarnation leads') end
  call('HSET', LEAD, 'incarnation', '', 'beat', '0', 'ended', ended)
  return cmsgpack.pack({})
end

-- A commit. `beat` is the one seen; `queue_names` are the queues whose lengths are returned; `max_users` 0: no limit;
-- `newcomers` is the set to which accounts that are new to the crawl are added as well, or ''; `passed` is the sequence
-- that every reader of the log has passed (-1: no readers); `log_cap` and `log_floor` are how many bytes of the log are
-- kept at most, and for late readers.
local incarnation, beat, transitions, queue_names, max_users, log_cap, newcomers, passed, log_floor = unpack(req, 2, 10)
local lead = call('HMGET', LEAD, 'incarnation', 'beat')
if lead[1] ~= incarnation then return fenced('another incarnation leads') end
if lead[2] ~= whole(beat) then return fenced('the beat is not the one that was written last') end
local forbidden = refused()
if forbidden then return forbidden end
-- For the same reason the types of the keys that it writes are checked first.
for name in string.gmatch('held totals sets levels heads retry dead crawl readers dropped', '%a+') do call('HLEN', P .. name) end
call('LLEN', LOG); call('LLEN', P .. 'reigns'); for _, name in ipairs(queue_names) do call('LLEN', P .. 'queue:' .. name) end
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
    call('DEL', key) -- and created again: a set that once outgrew the compact encoding never returns to it
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
  if #q.front > 0 then -- LPUSH reverses the order: the first of them must be the next one out
    local turned, n = {}, #q.front
    for i = 1, n do turned[i] = q.front[n + 1 - i] end
    for first = 1, n, 4000 do call('LPUSH', key, unpack(turned, first, math.min(first + 3999, n))) end
  end
  q.front, q.back = {}, {}
end

-- An empty queue collects ids for the frontier file.
local function discover(found)
  if not found then return end
  local queue, front, level, accounts, records = unpack(found, 1, 5)
  if #accounts == 0 then return end
  local seen, seeds, added = family('seen'), family('seeds'), 0
  for i, id in ipairs(accounts) do
    if has(seeds, id) then
      count('known', 1)
    elseif queue == '' then
      if not has(seen, id) and add(family('collected'), id) then push('collected', id) end
    elseif max_users > 0 and seen.members >= max_users then
      if not has(seen, id) then count('turned away', 1) end
    elseif add(seen, id) then
      if newcomers ~= '' then add(family(newcomers), id) end
      push(queue, records[i], front)
      added = added + 1
    end
  end
  if added > 0 then
    count('discovered', added)
    if level ~= '' then call('HINCRBY', P .. 'levels', level, added) end
  end
end

-- The log of announcements, which subscribers read again. Trimmed from its head: to what is not passed yet, and to the
-- cap. `reigns` lists which incarnation assigned which sequences: {incarnation, the first one}, one after the other.
local heads, sequence, log_bytes, reign
local entries, at = {}, 0
local told = { 0 } -- the first sequence of this commit; then, for each: which transition, and the topic's one before
local function announce(entry)
  if not entry then return end
  local topic, body = unpack(entry, 1, 2)
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
  told[#told + 1] = heads[topic] or 0
  count('announced.' .. topic, 1)
  local packed = cmsgpack.pack({ sequence, heads[topic] or 0, topic, body })
  heads[topic] = sequence
  log_bytes = log_bytes + #packed
  entries[#entries + 1] = packed
end

-- What is held under the tokens that this batch names, read at once.
local OF_A_LEASE = { page = true, done = true, found = true, back = true, rest = true, dead = true, forget = true }
local held, changed = {}, {}
do
  local tokens = {}
  for _, t in ipairs(transitions) do
    if OF_A_LEASE[t[1]] then tokens[#tokens + 1] = t[2] end
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
-- By kind. Their fields are documented in `storage/ledger/transitions.py`, whose classes use the same names.
local handlers = {}

-- Each assigned job gets its own token.
function handlers.give(t)
  local queues, most, worker, budget, granted = unpack(t, 2, 6)
  local out = {}
  if not tokens_given then tokens_given = tonumber(call('HGET', TOTALS, 'tokens') or '0') end
  for _, queue in ipairs(queues) do
    local want = most - #out / 2
    if want <= 0 then break end
    pour(queue)
    for _, record in ipairs(call('LPOP', P .. 'queue:' .. queue, want) or {}) do
      tokens_given = tokens_given + 1
      local token = incarnation .. ':' .. whole(tokens_given)
      put(token, { record, worker, budget, granted })
      out[#out + 1] = token
      out[#out + 1] = record
    end
  end
  return out
end

-- Whether a step follows the one that is held: its status, and the lease with its contents.
local function next_step(token, step)
  local lease = held[token]
  if not lease then return STALE end
  local operation, steps, records = read(lease[1])
  if step <= steps then return AGAIN end
  if step > steps + 1 then return GAP end
  return OK, lease, operation, records
end

function handlers.page(t)
  local token, step, records, record, found, entry, budget, granted = unpack(t, 2, 9)
  local status, lease, operation, before = next_step(token, step)
  if status ~= OK then return status end
  discover(found)
  count(operation .. '.records', records - before)
  count(operation .. '.steps', 1)
  put(token, { record, lease[2], budget, granted })
  announce(entry)
  return OK
end

-- An analysis that ended for lack of a list, and a list that was stored with no analysis after it: whichever of the two
-- is second requeues the analysis.
local function meet(analysis, one, other)
  local account, queue, record, front, level = unpack(analysis, 1, 5)
  if not take(family(other), account) then
    add(family(one), account)
    return
  end
  push(queue, record, front)
  count('A.again', 1)
  if level ~= '' then call('HINCRBY', P .. 'levels', level, 1) end
end

function handlers.done(t)
  local token, step, records, outcome, queue, record, front, level, found, entry, analysis, receipt = unpack(t, 2, 13)
  local status, lease, operation, before = next_step(token, step)
  if status ~= OK then return status end
  discover(found)
  count(operation .. '.records', records - before)
  count(operation .. '.done', 1)
  count(operation .. '.' .. outcome, 1)
  if queue ~= '' then push(queue, record, front) end
  if level ~= '' then call('HINCRBY', P .. 'levels', level, -1) end
  drop(token)
  announce(entry)
  if analysis then
    if operation == 'A' then meet(analysis, 'unlisted', 'listed') else meet(analysis, 'listed', 'unlisted') end
  end
  if receipt then
    local set_name, account, in_it = unpack(receipt, 1, 3)
    if not in_it then
      take(family(set_name), account)
    else
      count(operation .. '.unstored', records)
      add(family(set_name), account)
    end
  end
  return OK
end

function handlers.found(t)
  local token, step, found = unpack(t, 2, 4)
  local status = next_step(token, step)
  if status ~= OK then return status end
  discover(found)
  return OK
end

function handlers.back(t)
  local token, queue, record, reason, last = unpack(t, 2, 6)
  local lease = held[token]
  if not lease then return STALE end
  push(queue, record ~= '' and record or lease[1], reason ~= 'outage' and not last)
  count('back.' .. reason, 1)
  drop(token)
  return OK
end

-- A job that restarts subtracts its count.
local function recount(lease, record)
  local operation, _, records = read(lease[1])
  local _, _, now = read(record)
  count(operation .. '.records', now - records)
end

function handlers.rest(t)
  local token, field, record, entry = unpack(t, 2, 5)
  local lease = held[token]
  if not lease then return STALE end
  recount(lease, record)
  call('HSET', P .. 'retry', field, record)
  count('retried', 1)
  drop(token)
  announce(entry)
  return OK
end

-- Behind those that are not known to fail.
function handlers.wake(t)
  local field, queue = unpack(t, 2, 3)
  local record = call('HGET', P .. 'retry', field)
  if not record then return STALE end
  call('HDEL', P .. 'retry', field)
  push(queue, record, false)
  return OK
end

function handlers.dead(t)
  local token, field, letter, queue, record, front, level, entry = unpack(t, 2, 9)
  local lease = held[token]
  if not lease then return STALE end
  local operation = read(lease[1])
  call('HSET', P .. 'dead', field, letter)
  count(operation .. '.dead', 1)
  if queue ~= '' then push(queue, record, front) end
  if level ~= '' then call('HINCRBY', P .. 'levels', level, -1) end
  drop(token)
  announce(entry)
  return OK
end

-- An update replaces the dead letter of an earlier round, which could otherwise be requeued beside it. A job from a
-- repair, whose id is OP:account, replaces a letter that was dropped, and is to be stored.
function handlers.jobs(t)
  local set_name, front, jobs = unpack(t, 2, 4)
  local letters = call('HLEN', P .. 'dead') > 0
  local f, added, levels = family(set_name), 0, {}
  for _, job in ipairs(jobs) do
    local id, queue, record, level = unpack(job, 1, 4)
    if add(f, id) then
      if set_name == 'seen' and newcomers ~= '' then add(family(newcomers), id) end
      push(queue, record, front)
      added = added + 1
      if set_name == 'repaired' then
        call('HDEL', P .. 'dropped', id)
        take(family('unstored.' .. string.sub(id, 1, 1)), string.sub(id, 3))
      end
      if letters and read(record) == 'U' and call('HDEL', P .. 'dead', 'U:' .. id) == 1 then count('U.dropped', 1) end
      if level ~= '' then levels[level] = (levels[level] or 0) + 1 end
    end
  end
  local names = {}
  for level in pairs(levels) do names[#names + 1] = level end
  table.sort(names)
  for _, level in ipairs(names) do call('HINCRBY', P .. 'levels', level, levels[level]) end
  count('intake.' .. set_name, added)
  return added
end

function handlers.known(t)
  local accounts, set_name = unpack(t, 2, 3)
  local f, added = family(set_name), 0
  for _, id in ipairs(accounts) do if add(f, id) then added = added + 1 end end
  return added
end

function handlers.tell(t)
  local entry = unpack(t, 2, 2)
  announce(entry)
  return OK
end

function handlers.reader(t)
  local name, last_read = unpack(t, 2, 3)
  if last_read < 0 then return call('HDEL', P .. 'readers', name) end
  call('HSET', P .. 'readers', name, whole(last_read))
  return OK
end

-- An update belongs to the current round, which gives its account no second one.
function handlers.letter(t)
  local field, letter, queue, record, level, entry, account, chained = unpack(t, 2, 9)
  if call('HGET', P .. 'dead', field) ~= letter then return STALE end
  call('HDEL', P .. 'dead', field)
  if account and take(family('unlisted'), account) then
    record = chained
    count('A.again', 1)
  elseif account then
    level = ''
  end
  if queue ~= '' then
    push(queue, record, false)
    count(read(record) .. '.revived', 1)
    if string.sub(field, 1, 2) == 'U:' then
      local now = call('HMGET', P .. 'crawl', 'round', 'updating')
      if now[1] and now[2] == 'yes' then add(family('updated' .. now[1]), string.sub(field, 3)) end
    end
  else
    call('HSET', P .. 'dropped', field, letter)
    count(string.sub(field, 1, 1) .. '.dropped', 1)
  end
  if level ~= '' then call('HINCRBY', P .. 'levels', level, 1) end
  announce(entry)
  return OK
end

function handlers.forget(t)
  local token = unpack(t, 2, 2)
  if not held[token] then return STALE end
  drop(token)
  return OK
end

function handlers.correct(t)
  local where, name, by = unpack(t, 2, 4)
  if where == 'totals' then
    count(name, by)
  elseif where == 'sets' then
    local f = family(name)
    f.members, f.changed = f.members + by, true
  else
    call('HINCRBY', P .. where, name, whole(by))
  end
  return OK
end

function handlers.trim(t)
  local most, entry = unpack(t, 2, 3)
  announce(entry)
  for first = 0, most - 1, 256 do
    for _, packed in ipairs(call('LRANGE', LOG, first, math.min(first + 256, most) - 1)) do log_bytes = log_bytes - #packed end
  end
  log_bytes = math.max(0, log_bytes)
  call('LTRIM', LOG, most, -1)
  return OK
end

function handlers.keep(t)
  local name, value = unpack(t, 2, 3)
  call('HSET', P .. 'crawl', name, value)
  return OK
end

function handlers.empty(t)
  local set_name, first, buckets = unpack(t, 2, 4)
  local f = family(set_name)
  for b = first, math.min(first + buckets, f.buckets) - 1 do call('DEL', f.prefix .. whole(b)) end
  if first + buckets < f.buckets then return AGAIN end
  call('HDEL', SETS, set_name .. '.members', set_name .. '.buckets')
  sets[set_name] = nil
  return OK
end

local statuses = {}
for i, t in ipairs(transitions) do at = i; statuses[i] = handlers[t[1]](t) end

-- One write of everything that was collected.
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
  while log_bytes > log_cap or (log_bytes > log_floor and passed >= 0) do
    local gone, oldest = 0, call('LRANGE', LOG, 0, 255)
    if #oldest == 0 then log_bytes = 0; break end
    if log_bytes <= log_cap and cmsgpack.unpack(oldest[#oldest])[1] > passed then break end
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
call('HSET', LEAD, 'beat', whole(beat + 1))
local lengths = {}
for i, name in ipairs(queue_names) do lengths[i] = call('LLEN', P .. 'queue:' .. name) end
return cmsgpack.pack({
  statuses, lengths, call('HGETALL', P .. 'levels'),
  { call('HLEN', HELD), call('HLEN', P .. 'retry'), call('HLEN', P .. 'dead'), family('seen').members }, told,
})
