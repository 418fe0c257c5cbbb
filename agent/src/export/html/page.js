(() => {
  "use strict";
  const EVERY_MS = 5000, SOON_MS = 250, CLOSEST = 64;

  // Zoom of the timeline: its drawing gets wider, its box scrolls.
  let zoom = 1;
  const box = () => document.getElementById("drawing");

  function keepNames() {
    const at = box();
    if (at) for (const name of at.querySelectorAll(".name")) name.setAttribute("x", at.scrollLeft + 4);
  }

  function stretch(to) {
    const at = box(), svg = at && at.querySelector("svg");
    if (!svg) return;
    const middle = at.clientWidth / 2, part = (at.scrollLeft + middle) / at.scrollWidth;
    zoom = Math.min(CLOSEST, Math.max(1, to));
    svg.setAttribute("width", zoom * 100 + "%");
    at.scrollLeft = part * at.scrollWidth - middle;
    keepNames();
  }

  function dress() {
    for (const button of document.querySelectorAll("[data-zoom]")) button.hidden = false;
    if (zoom > 1) stretch(zoom);
  }

  document.addEventListener("scroll", event => { if (event.target === box()) keepNames(); }, true);
  document.addEventListener("click", event => {
    const button = event.target.closest("[data-zoom]");
    if (button) stretch(button.dataset.zoom === "0" ? 1 : zoom * Number(button.dataset.zoom));
  });
  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey || !event.target.closest("#timeline")) return;
    const to = { "+": zoom * 2, "=": zoom * 2, "-": zoom / 2, "0": 1 }[event.key];
    if (!to) return;
    stretch(to);
    event.preventDefault();
  });
  dress();

  // What changes is asked for again as a page, and only the parts that differ are put in.
  const follow = document.body.dataset.follow;
  if (!follow) return;
  const parts = () => document.querySelectorAll("[data-part]");
  const served = new Map();
  for (const part of parts()) served.set(part.id, part.outerHTML);
  const state = text => {
    const place = document.getElementById("live");
    if (place && place.textContent !== text) place.textContent = text;
  };

  function put(page) {
    const focus = document.activeElement, href = focus && focus.getAttribute("href"), id = focus && focus.id;
    for (const old of parts()) {
      const now = page.getElementById(old.id);
      if (!now || served.get(old.id) === now.outerHTML) continue;
      served.set(old.id, now.outerHTML);
      const at = old.contains(box()) ? box().scrollLeft : 0;
      old.replaceWith(now);
      dress();
      if (at) box().scrollLeft = at;
    }
    if (!focus || focus.isConnected) return;
    const again = id ? document.getElementById(id) : href && document.querySelector(`[href="${CSS.escape(href)}"]`);
    if (again) again.focus({ preventScroll: true });
  }

  let due = 0, busy = false, missed = false;
  async function renew() {
    if (busy) { missed = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok) put(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* The stream says that nobody answers. */ }
    busy = false;
    if (missed) { missed = false; soon(); }
  }
  function soon() {
    if (!due) due = setTimeout(() => { due = 0; renew(); }, SOON_MS);
  }

  const stream = new EventSource("/api/v1/incidents/stream");
  stream.addEventListener("open", () => { state("live"); soon(); });
  stream.addEventListener("error", () => state("not live"));
  stream.addEventListener("incident", event => { if (follow === "*" || event.lastEventId === follow) soon(); });
  stream.addEventListener("lost", soon);
  setInterval(() => { if (document.visibilityState === "visible") soon(); }, EVERY_MS);
})();
