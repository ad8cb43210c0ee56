// Keeps what the admin shows of running loads up to date.
"use strict";
(() => {
  const SECONDS = 1;
  const places = () => [...document.querySelectorAll("[data-ingest-load]")];

  const show = (place, load) => {
    const name = place.dataset.ingestText;
    if (name) {
      place.textContent = load.texts[name];
      return;
    }
    if (load.share === null) {
      place.removeAttribute("value");
    } else {
      place.value = load.share;
    }
    place.textContent = load.texts.share;
  };

  const ask = async () => {
    const running = new Set(places().map((place) => place.dataset.ingestLoad));
    if (running.size === 0) {
      return;
    }
    if (!document.hidden) {
      const query = new URLSearchParams([...running].map((load) => ["load", load]));
      const page = document.querySelector("[data-ingest-reload]");
      const answer = await fetch(`${page ? "../../" : ""}progress/?${query}`);
      if (!answer.ok || answer.redirected) {
        return;
      }
      const loads = await answer.json();
      for (const place of places()) {
        const load = loads[place.dataset.ingestLoad];
        if (load) {
          show(place, load);
        }
        if (!load || !load.isRunning) {
          delete place.dataset.ingestLoad;
        }
      }
      if (page && !loads[page.dataset.ingestReload]?.isRunning) {
        window.location.reload(); // other actions can be taken now
        return;
      }
    }
    window.setTimeout(ask, SECONDS * 1000);
  };

  document.addEventListener("DOMContentLoaded", () => window.setTimeout(ask, SECONDS * 1000));
})();
