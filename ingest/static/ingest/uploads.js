// Makes the way from a file to a load smoother; without it, everything works as well.
"use strict";
(() => {
  const SECONDS = 1.5;
  const SECONDS_BETWEEN_ANNOUNCEMENTS = 15; // a screen reader must not talk all the time
  let announced = Date.now();

  const CREATED = 201;
  const BYTES_OF_A_MEGABYTE = 1024 * 1024;
  let request = null; // that sends a file

  const findForm = () => document.querySelector("form[data-ingest-most-bytes]");

  const setSending = (form, isSending) => {
    const button = form.querySelector("input[type=submit]");
    const hadFocus = form.contains(document.activeElement);
    button.disabled = isSending;
    form.setAttribute("aria-busy", isSending);
    form.querySelector("[data-ingest-sending]").hidden = !isSending;
    if (hadFocus) {
      (isSending ? form.querySelector("[data-ingest-stop]") : button).focus();
    }
  };

  const tell = (form, text) => {
    const place = form.querySelector("[data-ingest-told]");
    place.textContent = text;
    place.hidden = !text;
  };

  const showSent = (form, sent, total) => {
    const language = `${document.documentElement.lang || "en"}-u-nu-latn`;
    const show = (value, options) => new Intl.NumberFormat(language, options).format(value);
    const megabytes = { style: "unit", unit: "megabyte", maximumFractionDigits: 1 };
    const sending = form.querySelector("[data-ingest-sending]");
    const bar = sending.querySelector("progress");
    const isSent = sent === total;
    if (isSent) {
      bar.removeAttribute("value"); // how long the server takes is not known
    } else {
      bar.value = sent / total;
    }
    sending.querySelector("[data-ingest-text]").textContent = isSent
      ? form.dataset.ingestSent
      : form.dataset.ingestShare.replace("{percent}", show(sent / total, { style: "percent" }))
          .replace("{sent}", show(sent / BYTES_OF_A_MEGABYTE, megabytes))
          .replace("{total}", show(total / BYTES_OF_A_MEGABYTE, megabytes));
    announce(sending);
  };

  const end = (form, text) => {
    request = null;
    setSending(form, false);
    tell(form, text);
  };

  // Shows what the server has answered to a file: the next step, the login, or the form with errors.
  const showAnswer = (form, answer) => {
    if (answer.status === CREATED) {
      request = null;
      window.location.assign(answer.getResponseHeader("Location"));
      return;
    }
    if (answer.responseURL && answer.responseURL !== new URL(form.action).href.split("#")[0]) {
      window.location.assign(answer.responseURL); // to log in again
      return;
    }
    const page = new DOMParser().parseFromString(answer.responseText, "text/html");
    const content = page.querySelector(".ingest-upload");
    if (!content) {
      end(form, form.dataset.ingestRefused.replace("{status}", answer.status));
      return;
    }
    request = null;
    document.querySelector(".ingest-upload").replaceWith(content);
    prepareUpload();
    content.querySelector("input[type=file]")?.focus();
  };

  const send = (form) => {
    const sending = new XMLHttpRequest();
    request = sending;
    const body = new FormData(form);
    tell(form, "");
    setSending(form, true);
    showSent(form, 0, 1);
    sending.upload.addEventListener("progress", (event) => showSent(form, event.loaded, event.total));
    sending.addEventListener("load", () => showAnswer(form, sending));
    sending.addEventListener("abort", () => end(form, form.dataset.ingestStopped));
    sending.addEventListener("error", async () => {
      await fetchPage(); // goes to the login if the session has ended
      end(form, form.dataset.ingestFailed);
    });
    sending.open("POST", form.action);
    sending.setRequestHeader("X-Requested-With", "XMLHttpRequest");
    sending.send(body);
  };

  const prepareUpload = () => {
    const form = findForm();
    const input = form?.querySelector("input[type=file]");
    input?.addEventListener("change", () => {
      const file = input.files[0];
      const isTooLarge = file && file.size > Number(form.dataset.ingestMostBytes);
      input.setCustomValidity(isTooLarge ? form.dataset.ingestTooLarge : "");
      input.reportValidity();
    });
    form?.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!request) {
        send(form);
      }
    });
    form?.querySelector("[data-ingest-stop]").addEventListener("click", () => request?.abort());
  };

  document.addEventListener("keydown", (event) => event.key === "Escape" && request?.abort());
  // A browser that goes back may show the page as it was left.
  window.addEventListener("pageshow", () => {
    const form = findForm();
    if (form && !request) {
      setSending(form, false);
    }
  });

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
    prepareUpload();
    window.setTimeout(refresh, SECONDS * 1000);
  });
})();
