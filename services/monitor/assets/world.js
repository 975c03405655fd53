// A map of located posts. The world's outline is a file of ours, so it works in a closed network.

import * as L from "./vendor/leaflet/leaflet-src.esm.js";
import { colour, h } from "./dom.js";
import { on_theme } from "./bar.js";
import { at } from "./place.js";

/** The land of a TopoJSON file as rings of [latitude, longitude], and the borders between countries as lines. */
function outline(topology) {
  const { scale, translate } = topology.transform;
  const arcs = topology.arcs.map((arc) => {
    let [x, y] = [0, 0];
    return arc.map(([dx, dy]) => {
      x += dx;
      y += dy;
      return [y * scale[1] + translate[1], x * scale[0] + translate[0]];
    });
  });
  const line = (index) => (index < 0 ? [...arcs[~index]].reverse() : arcs[index]);
  const ring = (indexes) => unrolled(indexes.flatMap((index, place) => line(index).slice(place ? 1 : 0)));
  const shapes = (object) => (object.type === "GeometryCollection" ? object.geometries.flatMap(shapes) : object.type === "MultiPolygon" ? object.arcs : object.type === "Polygon" ? [object.arcs] : []);
  const land = shapes(topology.objects.land).map((polygon) => polygon.map(ring));
  // Shapes that were unrolled beyond the edge of the map are shown at the other edge too.
  for (const polygon of [...land]) {
    const reach = polygon[0].reduce(([least, most], [, x]) => [Math.min(least, x), Math.max(most, x)], [0, 0]);
    if (reach[1] > 180.5) land.push(polygon.map((one) => one.map(([y, x]) => [y, x - 360])));
    else if (reach[0] < -180.5) land.push(polygon.map((one) => one.map(([y, x]) => [y, x + 360])));
  }
  const uses = new Map();
  for (const polygon of shapes(topology.objects.countries)) {
    for (const index of polygon.flat()) {
      const of = index < 0 ? ~index : index;
      uses.set(of, (uses.get(of) || 0) + 1);
    }
  }
  const borders = [...uses].filter(([, times]) => times > 1).map(([index]) => arcs[index]).filter((arc) => arc.every(([, x], place) => !place || Math.abs(x - arc[place - 1][1]) < 180));
  return { land, borders };
}

/** A ring that does not jump where it crosses the date line; one around the pole is closed along it. */
function unrolled(points) {
  let shift = 0;
  let before = points[0][1];
  const ring = points.map(([y, x]) => {
    if (x - before > 180) shift -= 360;
    else if (x - before < -180) shift += 360;
    before = x;
    return [y, x + shift];
  });
  if (shift) {
    const pole = ring[0][0] < 0 ? -89 : 89;
    ring.push([pole, ring[ring.length - 1][1]], [pole, ring[0][1]]);
  }
  return ring;
}

export class World {
  constructor(place, opened) {
    this.opened = opened;
    this.map = L.map(place, {
      center: [25, 8],
      zoom: 1,
      minZoom: 0,
      maxZoom: 9,
      zoomSnap: 0.25,
      preferCanvas: true,
      attributionControl: false,
      worldCopyJump: false,
      maxBounds: [[-80, -190], [85.05, 190]],
      maxBoundsViscosity: 1,
      zoomAnimation: !matchMedia("(prefers-reduced-motion: reduce)").matches,
    });
    this.points = L.layerGroup().addTo(this.map);
    this.shapes = [];
    on_theme(() => this.paint());
    this.ready = this.load();
  }

  async load() {
    const answer = await fetch(at("/assets/vendor/world/countries-110m.json"));
    const { land, borders } = outline(await answer.json());
    const plain = { interactive: false };
    this.land = L.polygon(land, plain).addTo(this.map);
    this.borders = L.polyline(borders, plain).addTo(this.map);
    this.land.bringToBack();
    this.paint();
  }

  paint() {
    if (!this.land) return;
    const land = colour("--map-land");
    this.land.setStyle({ color: colour("--map-coast"), weight: 0.8, fillColor: land, fillOpacity: 1 });
    this.borders.setStyle({ color: colour("--map-border"), weight: 0.7 });
    this.points.eachLayer((point) => point.setStyle({ fillColor: colour("--accent"), color: colour("--map-land") }));
  }

  /** Rows of [latitude, longitude, id, text]. */
  async show(rows) {
    await this.ready;
    this.points.clearLayers();
    const fill = colour("--accent");
    const edge = colour("--map-land");
    const bounds = [];
    for (const [latitude, longitude, id, text] of rows) {
      if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180)) continue;
      bounds.push([latitude, longitude]);
      const point = L.circleMarker([latitude, longitude], { radius: rows.length > 300 ? 4 : 5.5, weight: 1, color: edge, fillColor: fill, fillOpacity: 0.72 });
      point.bindPopup(() => h("div", {}, h("p", {}, text), h("button", { type: "button", class: "button small", onclick: () => this.opened(id) }, "In full")), { maxWidth: 260 });
      this.points.addLayer(point);
    }
    this.map.invalidateSize();
    // No further out than one world in the width of the map.
    this.map.setMinZoom(Math.ceil(4 * Math.log2(this.map.getSize().x / 271)) / 4);
    if (bounds.length) this.map.fitBounds(L.latLngBounds(bounds).pad(0.2), { maxZoom: 5, animate: false });
    else this.map.setView([25, 8], 1, { animate: false });
  }
}
