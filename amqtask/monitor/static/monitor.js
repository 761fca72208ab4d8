// Puts times into the browser's zone, and keeps the parts of a page that have data-live up to date.
// Every page works without this script.
"use strict";

(() => {
  const two = (number) => String(number).padStart(2, "0");
  const clock = (at) => [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
  const day = (at) => `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;

  const localise = (root) => {
    const today = day(new Date());
    for (const time of root.querySelectorAll("time[datetime]:not([data-ago])")) {
      const at = new Date(time.dateTime);
      if (isNaN(at)) continue;
      const dated = time.dataset.date || day(at) !== today;
      time.textContent = dated ? `${day(at)} ${clock(at)}` : clock(at);
    }
  };

  // Ticks: one for all, and what can be done with the chosen ones.
  const count = (form) => {
    const boxes = [...form.querySelectorAll('input[name="id"]')];
    const chosen = boxes.filter((box) => box.checked).length;
    const all = form.querySelector("input[data-all]");
    if (all) {
      all.checked = chosen > 0 && chosen === boxes.length;
      all.indeterminate = chosen > 0 && chosen < boxes.length;
    }
    for (const out of form.querySelectorAll("[data-chosen]")) out.textContent = chosen ? `${chosen} selected` : "";
  };

  document.addEventListener("change", (event) => {
    const box = event.target;
    const form = box.form;
    if (!form || box.type !== "checkbox") return;
    if (box.matches("[data-all]")) {
      for (const one of form.querySelectorAll('input[name="id"]')) one.checked = box.checked;
    }
    count(form);
  });

  // Where the reader is in a part of the page: what is ticked, open, scrolled and focused there.
  const key = (element) => `${element.tagName} ${element.name || ""} ${element.value || ""} ` +
    `${element.getAttribute("href") || element.dataset.key || element.textContent.slice(0, 80)}`;

  const replace = (old, fresh) => { // false: not now
    const focused = old.contains(document.activeElement) ? document.activeElement : null;
    if (focused && focused.matches("select, input:not([type=checkbox])")) return false; // somebody is typing
    const marked = document.getSelection();
    if (!marked.isCollapsed && marked.containsNode(old, true)) return false; // somebody is copying
    const ticked = new Set([...old.querySelectorAll("input:checked")].map(key));
    const open = new Set([...old.querySelectorAll("details[open]")].map(key));
    const scrolled = [...old.querySelectorAll(".table, pre")].map((one) => [one.scrollLeft, one.scrollTop]);
    const focusedKey = focused && key(focused);
    old.replaceChildren(...fresh.childNodes);
    for (const box of old.querySelectorAll("input[type=checkbox]")) if (ticked.has(key(box))) box.checked = true;
    for (const one of old.querySelectorAll("details")) if (open.has(key(one))) one.open = true;
    [...old.querySelectorAll(".table, pre")].forEach((one, place) => {
      if (scrolled[place]) [one.scrollLeft, one.scrollTop] = scrolled[place];
    });
    if (focused) {
      [...old.querySelectorAll("a, button, summary, input")].find((one) => key(one) === focusedKey)
        ?.focus({ preventScroll: true });
    }
    const form = old.closest("form");
    if (form) count(form);
    return true;
  };

  // -- refreshing --

  const sign = document.querySelector(".live");
  const say = (state, words) => {
    if (!sign || sign.dataset.state === state) return;
    sign.dataset.state = state;
    sign.querySelector("[role=status]").textContent = words;
  };

  const shown = new Map(); // what the server sent last, to change nothing that has not changed
  let busy = false;

  const refresh = async () => {
    if (busy || document.hidden) return;
    busy = true;
    const began = performance.now();
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" }, redirect: "error" });
      if (!answer.ok && answer.status !== 404) throw new Error(answer.status);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of page.querySelectorAll("[data-live][id]")) {
        const old = document.getElementById(fresh.id);
        const sent = fresh.innerHTML;
        if (!old || shown.get(fresh.id) === sent) continue;
        localise(fresh);
        if (replace(old, fresh)) shown.set(fresh.id, sent);
      }
      say("on", "Live");
    } catch {
      say("off", "No answer: trying again");
    } finally {
      setTimeout(() => { busy = false; }, 9 * (performance.now() - began)); // a slow answer is asked for less often
    }
  };

  // Only a page that is seen listens: a browser has six connections to a server, and each listener holds one.
  let source = null;

  const listen = () => {
    source?.close();
    source = null;
    if (document.hidden || !sign?.dataset.url) return; // without url: the answer to a form
    source = new EventSource(sign.dataset.url);
    source.addEventListener("open", () => say("on", "Live"));
    source.addEventListener("news", refresh);
    source.addEventListener("error", (event) => {
      say("off", "No answer: trying again");
      if (event.target.readyState !== EventSource.CLOSED) return; // it connects again by itself
      setTimeout(() => { refresh(); listen(); }, 10000); // too many listen, or the server has gone
    });
  };

  document.addEventListener("visibilitychange", () => { refresh(); listen(); });

  // A notice is told once: not again when the page is loaded anew.
  const here = new URL(location.href);
  if (here.searchParams.has("said")) {
    here.searchParams.delete("said");
    history.replaceState(null, "", here);
  }
  document.querySelector("nav [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
  localise(document);
  document.querySelectorAll("form").forEach(count);
  listen();
})();
