// What the pages gain by a script: keys, and looking again while a worker is awaited. Every page works without it.
"use strict";

(() => {
  const main = document.querySelector("main");
  const dialog = document.querySelector("dialog#keys");
  const one = (selector, within = document) => within.querySelector(selector);

  // Keys. The row with the focus is the chosen one, so that Enter opens it and the browser says where one is.
  const rows = () => [...main.querySelectorAll(".rows tbody tr, .acts li")].filter((row) => one("a", row));
  const step = (by) => {
    const all = rows();
    const at = all.findIndex((row) => row.contains(document.activeElement));
    const next = all[at < 0 && by < 0 ? all.length - 1 : at + by];
    if (!next) return;
    one("a", next).focus();
    next.scrollIntoView({ block: "nearest" });
  };
  const search = () => {
    const field = one("input[name=q]", main) ?? one(".top input[name=q]");
    field?.focus();
    field?.select();
  };
  const KEYS = { "/": search, j: () => step(1), k: () => step(-1), "?": () => dialog?.showModal() };
  const OFF = "metermend-keys-off";
  let after = "";

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || localStorage.getItem(OFF)) return;
    const link = after === "g" && one(`[data-key="${CSS.escape(event.key)}"]`);
    after = event.key;
    if (link) link.click();
    else if (KEYS[event.key]) KEYS[event.key]();
    else return;
    event.preventDefault();
  });

  const opener = one("[data-opens-keys]");
  const switched = one("[data-switches-keys]");
  if (opener && switched) {
    opener.hidden = false;
    opener.addEventListener("click", () => dialog.showModal());
    switched.checked = !localStorage.getItem(OFF);
    switched.addEventListener("change", () => {
      if (switched.checked) localStorage.removeItem(OFF);
      else localStorage.setItem(OFF, "1");
    });
  }

  // A page that waits for a worker looks again by itself: ever more seldom, and not while it is hidden. What has the
  // focus keeps it.
  const TRIES = 100;
  const LONGEST_WAIT = 10_000;
  const FAILURES = 5;
  const said = one("[role=status]");

  const lookAgain = async (wait, tries, failures) => {
    if (tries === 0 || failures === FAILURES) {
      said.textContent = "This page no longer looks again by itself: reload it.";
      said.classList.remove("unseen");
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    if (document.hidden) return lookAgain(wait, tries, failures);
    try {
      const fresh = await fetched();
      swap(fresh);
      if (one("main", fresh).hasAttribute("data-waits")) lookAgain(Math.min(wait * 1.2, LONGEST_WAIT), tries - 1, 0);
    } catch {
      lookAgain(wait, tries, failures + 1);
    }
  };

  const fetched = async () => {
    const answer = await fetch(location.href, { signal: AbortSignal.timeout(LONGEST_WAIT) });
    if (answer.redirected) location.reload(); // the session has ended: this leads to the login
    if (answer.redirected || !answer.ok) throw new Error(answer.status);
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  };

  // Put the new page's <main> in place of the one that is shown, where it says anything new.
  const swap = (page) => {
    const fresh = one("main", page);
    if (fresh.innerHTML === shown) return;
    shown = fresh.innerHTML;
    const [focused, place] = [document.activeElement, placeOf(document.activeElement)];
    main.innerHTML = shown;
    if (place) {
      const there = one(place, main);
      // Never another button than the one that somebody was about to press.
      (there?.outerHTML === focused.outerHTML ? there : main).focus({ preventScroll: true });
    }
    document.title = page.title;
    said.textContent = one(".badge", main)?.textContent ?? page.title;
  };

  // A selector that finds an element of <main> again after its markup was replaced.
  const placeOf = (element) => {
    if (!element || element === main || !main.contains(element)) return null;
    if (element.id) return `#${CSS.escape(element.id)}`;
    const at = [...element.parentElement.children].indexOf(element) + 1;
    const parent = placeOf(element.parentElement);
    return `${parent ?? ":scope"} > :nth-child(${at})`;
  };

  let shown = main.innerHTML;
  if (main.hasAttribute("data-waits")) lookAgain(500, TRIES, 0);
})();
