// What pages do in the browser: live events, toasts, dialogs, choosing rows, the theme. No page has code of its own.
(function () {
  "use strict";

  // ---- live events: `live:TOPIC` on the body, for hx-trigger; all of them again after a lost connection.
  //      Of a topic `broker:GROUP/NAME` also `live:broker`: hx-trigger cannot name every name.

  const topics = (document.body.dataset.topics || "").split(" ").filter(Boolean);
  const offline = document.querySelector(".offline");

  function tell(topic) {
    document.body.dispatchEvent(new CustomEvent("live:" + topic.replaceAll("/", ":"))); // hx-trigger takes no slashes
    if (topic.includes(":")) document.body.dispatchEvent(new CustomEvent("live:" + topic.split(":")[0]));
  }

  if (topics.length) {
    const query = topics.map((topic) => "topic=" + encodeURIComponent(topic)).join("&");
    let lost = false;
    let source = null;
    function listen() {
      source = new EventSource("/api/v1/events?" + query);
      source.onopen = () => {
        if (lost) topics.forEach(tell);
        lost = false;
        if (offline) offline.hidden = true;
      };
      source.onerror = () => {
        lost = true;
        if (offline) offline.hidden = false;
        if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
      };
      topics.forEach((topic) => source.addEventListener(topic, () => tell(topic)));
    }
    listen();
    addEventListener("pagehide", () => source && source.close());
    addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  }

  // ---- toasts

  function toast(text, kind) {
    const box = document.createElement("div");
    box.className = "toast " + kind;
    box.textContent = text;
    if (kind === "bad") {
      box.setAttribute("role", "alert");
      const close = document.createElement("button");
      close.type = "button";
      close.textContent = "×";
      close.setAttribute("aria-label", "Close");
      close.addEventListener("click", () => box.remove());
      box.append(close);
    } else {
      setTimeout(() => box.remove(), 6000);
    }
    document.getElementById("toasts").append(box);
  }

  // what is to be said on the page that follows
  function keepToast(text) {
    try { sessionStorage.setItem("toast", text); } catch (error) { /* it was said on this page */ }
  }

  try {
    const kept = sessionStorage.getItem("toast");
    sessionStorage.removeItem("toast");
    if (kept) toast(kept, "good");
  } catch (error) { /* there is no storage */ }

  function said(request) {
    try { return JSON.parse(request.responseText); } catch (error) { return null; }
  }

  // data-answers="ID" of a form: the dialog that shows its answer; a field of it stands in data-answer="NAME"
  function showAnswer(dialog, answer) {
    dialog.querySelectorAll("[data-answer]").forEach((place) => { place.textContent = answer[place.dataset.answer] || ""; });
    dialog.addEventListener("close", () => {
      dialog.querySelectorAll("[data-answer]").forEach((place) => { place.textContent = ""; });
    }, { once: true });
    dialog.showModal();
  }

  // htmx looks into every answer for parts of the page, also where nothing is to be swapped; one that is no HTML
  // has none: the names in it are other people's.
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const type = event.detail.xhr.getResponseHeader("Content-Type") || "";
    if (!type.startsWith("text/html")) event.detail.shouldSwap = false;
  });

  document.body.addEventListener("htmx:afterRequest", (event) => {
    const request = event.detail.xhr;
    const path = event.detail.pathInfo ? event.detail.pathInfo.requestPath : "";
    if (!path.startsWith("/api/") || !request || !request.status) return;
    const answer = said(request);
    if (request.status >= 200 && request.status < 300) {
      if (answer && answer.message) toast(answer.message, "good");
      const element = event.detail.elt;
      const dialog = element.closest("dialog");
      if (dialog) dialog.close();
      if (event.detail.requestConfig && event.detail.requestConfig.verb !== "get") document.body.dispatchEvent(new CustomEvent("changed"));
      const then = element.dataset.then;
      if (then) {
        if (answer && answer.message) keepToast(answer.message);
        location.assign(then);
      }
      if (element.hasAttribute("data-reset")) element.reset();
      if (element.dataset.answers) showAnswer(document.getElementById(element.dataset.answers), answer || {});
    } else if (answer && answer.error) {
      toast((answer.error.message + " " + answer.error.do_next).trim(), "bad");
    }
  });

  document.body.addEventListener("htmx:sendError", () => toast("The console cannot be reached.", "bad"));
  document.body.addEventListener("htmx:responseError", (event) => {
    const request = event.detail.xhr;
    if (request.status === 401) location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search));
  });

  // ---- dialogs: data-dialog="ID" opens, data-close closes; what stands in data-fill-NAME is filled in

  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-dialog]");
    if (opener) {
      const dialog = document.getElementById(opener.dataset.dialog);
      for (const [key, value] of Object.entries(opener.dataset)) {
        if (!key.startsWith("fill")) continue;
        const name = key.slice(4).toLowerCase();
        dialog.querySelectorAll(`[name="${name}"]`).forEach((field) => { field.value = value; });
        dialog.querySelectorAll(`[data-shows="${name}"]`).forEach((place) => { place.textContent = value; });
      }
      dialog.querySelectorAll("[data-chosen]").forEach((place) => showChosen(place));
      dialog.querySelectorAll("[data-count]").forEach((place) => { place.textContent = ticked(place.dataset.count).length; });
      dialog.showModal();
      return;
    }
    if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
    if (event.target.tagName === "DIALOG") event.target.close();
    if (event.target.closest("[data-theme-toggle]")) {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      try { localStorage.setItem("theme", root.dataset.theme); } catch (error) { /* only for this page then */ }
    }
  });

  // ---- choosing rows: data-all="NAME" ticks all, data-needs="NAME" is disabled while nothing is ticked,
  //      data-chosen="NAME" lists what is ticked, data-count="NAME" how many; `changed` on the body: something was changed here

  function ticked(name) {
    return [...document.querySelectorAll(`input[type=checkbox][name="${name}"]:checked`)]
      .filter((box) => !box.closest("dialog")).map((box) => box.value);
  }

  function showChosen(place) {
    place.replaceChildren(...ticked(place.dataset.chosen).map((value) => {
      const item = document.createElement("li");
      item.textContent = value;
      return item;
    }));
  }

  function refreshNeeds() {
    document.querySelectorAll("[data-needs]").forEach((button) => {
      button.disabled = ticked(button.dataset.needs).length === 0;
    });
  }

  document.addEventListener("change", (event) => {
    const name = event.target.dataset ? event.target.dataset.all : undefined;
    if (name) {
      document.querySelectorAll(`input[type=checkbox][name="${name}"]`).forEach((box) => { box.checked = event.target.checked; });
    }
    refreshNeeds();
  });
  document.body.addEventListener("htmx:afterSettle", refreshNeeds);
  refreshNeeds();

  // ---- what is refreshed keeps its ticks; data-tail stays at its end unless somebody has scrolled up

  let keptTicks = [];
  const atEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 30;

  document.body.addEventListener("htmx:beforeSwap", (event) => {
    const target = event.detail.target;
    keptTicks = [...target.querySelectorAll("input[type=checkbox][name]:checked")].map((box) => [box.name, box.value]);
    target.querySelectorAll("[data-tail]").forEach((box) => { box.dataset.tail = atEnd(box) ? "" : "read"; });
  });
  document.body.addEventListener("htmx:afterSwap", (event) => {
    const target = event.detail.target;
    keptTicks.forEach(([name, value]) => {
      const box = target.querySelector(`input[type=checkbox][name="${name}"][value="${CSS.escape(value)}"]`);
      if (box) box.checked = true;
    });
    refreshNeeds();
    showTails();
  });

  function showTails() {
    document.querySelectorAll("[data-tail]").forEach((box) => { if (box.dataset.tail !== "read") box.scrollTop = box.scrollHeight; });
  }
  showTails();

  // ---- data-narrows="SELECTOR": a field that hides the choices in a list which do not fit

  document.addEventListener("input", (event) => {
    const list = event.target.dataset ? event.target.dataset.narrows : undefined;
    if (!list) return;
    const wanted = event.target.value.toLowerCase();
    event.target.parentElement.querySelectorAll(`${list} label`).forEach((label) => {
      label.hidden = !label.textContent.toLowerCase().includes(wanted) && !label.querySelector("input").checked;
    });
  });

  // ---- what can be scrolled can be reached by keys

  function showScrollable() {
    document.querySelectorAll(".card.flush, .scroll, pre, .log").forEach((box) => {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls && !box.querySelector("a, button, input, summary")) box.tabIndex = 0; else box.removeAttribute("tabindex");
    });
  }
  document.body.addEventListener("htmx:afterSettle", showScrollable);
  addEventListener("resize", showScrollable);
  showScrollable();

  // ---- `/` goes to the filter

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, textarea, select")) return;
    const filter = document.querySelector("[data-filter]");
    if (filter) { event.preventDefault(); filter.focus(); }
  });
})();
