// Puts the pieces of HTML that the proxy sends where they belong. They come escaped; nothing is computed here.
"use strict";

const ROWS = 1000, BLOCK = 50, SILENT_MS = 10_000, AGAIN_MS = 1000;
const byId = id => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
let feed, heard = Date.now();

function connect() {
  feed?.close();
  heard = Date.now();
  feed = new EventSource("v1/live?format=html");
  for (const [kind, act] of Object.entries({ rows: addRows, part: showPart, beat: () => {} })) {
    feed.addEventListener(kind, message => { heard = Date.now(); act(JSON.parse(message.data)); });
  }
  feed.onopen = () => tell("");
  feed.onerror = () => {
    tell("not connected; trying again");
    if (feed.readyState === EventSource.CLOSED) setTimeout(connect, AGAIN_MS);
  };
}

function tell(words) {
  if (byId("connection").textContent !== words) byId("connection").textContent = words;
}

function showPart({ id, html }) {
  const place = byId(id), opened = place.querySelector("details")?.open;
  const focused = place.contains(document.activeElement) ? document.activeElement : null;
  const again = focused && [...place.querySelectorAll("button, summary, pre")].indexOf(focused);
  place.innerHTML = html;
  if (opened) place.querySelector("details").open = true;
  if (focused) place.querySelectorAll("button, summary, pre")[again]?.focus();
  localise(place);
}

function addRows({ fresh, html }) {
  const table = byId("requests"), blocks = table.tBodies;
  if (fresh) while (blocks.length) blocks[0].remove();
  const held = document.createElement("template");
  held.innerHTML = html;
  localise(held.content);
  const more = held.content.childElementCount;
  if (more && (blocks[0]?.rows.length ?? BLOCK) + more > BLOCK) {
    const block = table.createTBody();  // blocks out of sight cost nothing when another one changes
    block.role = "rowgroup";
    table.tHead.after(block);
  }
  if (more) blocks[0].prepend(held.content);
  for (let over = table.rows.length - 1 - ROWS; over > 0; over--) {
    const last = blocks[blocks.length - 1];
    last.deleteRow(-1);
    if (!last.rows.length) last.remove();
  }
}

function localise(place) {
  for (const time of place.querySelectorAll("time")) time.textContent = clock.format(new Date(time.dateTime));
  if (place.id === "running") count();
}

function count() {
  for (const span of byId("running").querySelectorAll("[data-since]")) {
    span.textContent = `${Math.max(0, Date.now() / 1000 - span.dataset.since).toFixed(0)} s`;
  }
}

async function switchRecording(button) {
  if (button.ariaBusy === "true") return;
  button.ariaBusy = "true";  // disabled, it would lose the focus
  try {
    const answer = await fetch("v1/recording", {
      method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ on: button.dataset.record === "on" }),
    });
    if (!answer.ok) tell((await answer.json()).error.message);
  } catch {
    tell("the proxy does not answer");
  }
  button.ariaBusy = "false";
}

async function copy(button) {
  const text = byId(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(text);
    button.textContent = "Selected";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
}

document.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.record) switchRecording(button);
  if (button?.dataset.copy) copy(button);
});
setInterval(() => {
  count();
  if (Date.now() - heard > SILENT_MS) connect();  // a connection that died without a word
}, 1000);
connect();
