// Makes the way from a file to a load smoother; without it, everything works as well.
"use strict";
(() => {
  const SECONDS = 1.5;
  const SECONDS_BETWEEN_ANNOUNCEMENTS = 15; // a screen reader must not talk all the time
  let announced = Date.now();

  const watchSize = () => {
    const form = document.querySelector("form[data-ingest-most-bytes]");
    const input = form?.querySelector("input[type=file]");
    input?.addEventListener("change", () => {
      const file = input.files[0];
      const isTooLarge = file && file.size > Number(form.dataset.ingestMostBytes);
      input.setCustomValidity(isTooLarge ? form.dataset.ingestTooLarge : "");
      input.reportValidity();
    });
    form?.addEventListener("submit", () => {
      form.querySelector("input[type=submit]").disabled = true;
      form.setAttribute("aria-busy", "true");
    });
    const enable = () => {
      const button = form?.querySelector("input[type=submit]");
      if (button) {
        button.disabled = false;
        form.removeAttribute("aria-busy");
      }
    };
    // A browser that goes back may show the page as it was left.
    window.addEventListener("pageshow", enable);
    // Who stops an upload can begin it again.
    document.addEventListener("keydown", (event) => event.key === "Escape" && enable());
    input?.addEventListener("change", enable);
  };

  // Returns the page as it is now; null if the server cannot answer at the moment.
  const fetchPage = async () => {
    try {
      const answer = await fetch(window.location.href);
      if (answer.ok && !answer.redirected) {
        return new DOMParser().parseFromString(await answer.text(), "text/html");
      }
      if (answer.status < 500) {
        window.location.reload(); // to log in again, or to see what is wrong
      }
    } catch {
      // It is being restarted, for example.
    }
    return null;
  };

  const announce = (place) => {
    const status = document.querySelector("[data-ingest-status]");
    const text = place.querySelector("[data-ingest-text]")?.textContent;
    if (status && text && Date.now() - announced >= SECONDS_BETWEEN_ANNOUNCEMENTS * 1000) {
      announced = Date.now();
      status.textContent = text;
    }
  };

  const refresh = async () => {
    const place = document.querySelector("[data-ingest-refresh]");
    if (!place) {
      return;
    }
    if (!document.hidden) {
      const page = await fetchPage();
      document.querySelector("[data-ingest-away]").hidden = page !== null;
      const now = page?.getElementById(place.id);
      if (page && now?.dataset.ingestRefresh !== place.dataset.ingestRefresh) {
        window.location.reload(); // the buttons are others now
        return;
      }
      if (now) {
        place.replaceChildren(...now.childNodes);
        announce(place);
      }
    }
    window.setTimeout(refresh, SECONDS * 1000);
  };

  document.addEventListener("DOMContentLoaded", () => {
    watchSize();
    window.setTimeout(refresh, SECONDS * 1000);
  });
})();
