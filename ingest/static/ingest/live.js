// Keeps what the admin shows of running loads up to date.
"use strict";
(() => {
  const SECONDS = 1;
  const SECONDS_BETWEEN_ANNOUNCEMENTS = 15; // a screen reader must not talk all the time
  let announced = Date.now();
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

  const announce = (load) => {
    const status = document.querySelector("[data-ingest-status]");
    if (status && Date.now() - announced >= SECONDS_BETWEEN_ANNOUNCEMENTS * 1000) {
      announced = Date.now();
      status.textContent = `${load.texts.state}, ${load.texts.share}`;
    }
  };

  const setAway = (isAway) => {
    const note = document.querySelector("[data-ingest-away]");
    if (note) {
      note.hidden = !isAway;
    }
  };

  // Returns the figures of loads; null if the server cannot answer at the moment.
  const fetchProgress = async (running, page) => {
    const query = new URLSearchParams([...running].map((load) => ["load", load]));
    try {
      const answer = await fetch(`${page ? "../../" : ""}progress/?${query}`);
      if (answer.ok && !answer.redirected) {
        return await answer.json();
      }
      if (answer.status < 500) {
        window.location.reload(); // to log in again, or to see what is wrong
      }
    } catch {
      // It is being restarted, for example.
    }
    return null;
  };

  const refresh = async () => {
    const running = new Set(places().map((place) => place.dataset.ingestLoad));
    if (running.size === 0) {
      return;
    }
    if (!document.hidden) {
      const page = document.querySelector("[data-ingest-reload]");
      const loads = await fetchProgress(running, page);
      setAway(loads === null);
      for (const place of loads === null ? [] : places()) {
        const load = loads[place.dataset.ingestLoad];
        if (load) {
          show(place, load);
        }
        if (!load || !load.isRunning) {
          delete place.dataset.ingestLoad;
        }
      }
      const load = loads && page ? loads[page.dataset.ingestReload] : null;
      if (load?.isRunning) {
        announce(load);
      } else if (loads && page) {
        window.location.reload(); // other actions can be taken now
        return;
      }
    }
    window.setTimeout(refresh, SECONDS * 1000);
  };

  document.addEventListener("DOMContentLoaded", () => window.setTimeout(refresh, SECONDS * 1000));
})();
