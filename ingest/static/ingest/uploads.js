// Makes the way from a file to a load smoother; without it, everything works as well.
"use strict";
(() => {
  const SECONDS = 1.5;

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
    // A browser that goes back may show the page as it was left.
    window.addEventListener("pageshow", () => {
      const button = form?.querySelector("input[type=submit]");
      if (button) {
        button.disabled = false;
        form.removeAttribute("aria-busy");
      }
    });
  };

  const refresh = async () => {
    const place = document.querySelector("[data-ingest-refresh]");
    if (!place) {
      return;
    }
    if (!document.hidden) {
      const answer = await fetch(window.location.href);
      if (!answer.ok || answer.redirected) {
        window.location.reload();
        return;
      }
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const now = page.getElementById(place.id);
      if (!now?.hasAttribute("data-ingest-refresh")) {
        window.location.reload(); // the buttons are others now
        return;
      }
      place.replaceChildren(...now.childNodes);
    }
    window.setTimeout(refresh, SECONDS * 1000);
  };

  document.addEventListener("DOMContentLoaded", () => {
    watchSize();
    window.setTimeout(refresh, SECONDS * 1000);
  });
})();
