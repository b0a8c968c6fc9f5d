// Shows what the server sends, sends what the viewer wants. Frames come as binary
// messages (frame number, then a JPEG), everything else as JSON.
"use strict";

const $ = id => document.getElementById(id);
const plot = new Plot($("plot"));
let socket, state = null, lastPrompt = null, drawing = false, retry = 500;

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function say(text, lost) {
  $("status").textContent = text;
  $("status").classList.toggle("lost", Boolean(lost));
}

function connect() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  socket = new WebSocket(`${scheme}//${location.host}/ws${location.search}`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { retry = 500; say("live"); };
  socket.onmessage = event =>
    typeof event.data === "string" ? receive(JSON.parse(event.data)) : show(event.data);
  socket.onclose = () => {
    say("connection lost; trying again", true);
    setTimeout(connect, retry);
    retry = Math.min(retry * 2, 8000);
  };
}

async function show(data) {
  if (drawing) return; // a slow page skips frames
  drawing = true;
  try {
    const number = Number(new DataView(data).getBigUint64(0, true));
    const picture = await createImageBitmap(new Blob([new Uint8Array(data, 8)], { type: "image/jpeg" }));
    const canvas = $("frame");
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    $("position").textContent = "frame " + number;
  } finally {
    drawing = false;
  }
}

function receive(message) {
  if (message.type === "error") {
    $("prompt-error").textContent = message.message;
    return;
  }
  if (message.type !== "state") return;
  const before = state;
  state = message;
  $("model").textContent = `${state.model} on ${state.device}`;
  say(state.paused ? "paused" : "live");
  $("pause").textContent = state.paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", String(state.paused));
  $("step").disabled = !state.paused;
  if (document.activeElement !== $("seed")) $("seed").value = state.seed;
  $("frame").setAttribute("aria-label", `video of the prompt: ${state.prompt}`);
  if (!before || before.block !== state.block) {
    if (state.block) plot.add({ frame: state.frame, ms: state.block_ms, recache: state.recache_ms > 0 });
    plot.draw(1000 / state.fps * state.frames_per_block);
    figures();
    cache();
  }
  prompts();
}

function figures() {
  const rows = {
    "pace": state.fps.toFixed(0) + " frames/s",
    "loop could do": state.loop_fps.toFixed(1) + " frames/s",
    "frame, median": state.p50_ms.toFixed(1) + " ms",
    "frame, 95%": state.p95_ms.toFixed(1) + " ms",
    "longest switch stall": state.stall_ms ? state.stall_ms.toFixed(0) + " ms" : "none yet",
  };
  const list = $("figures");
  if (!list.children.length)
    for (const name of Object.keys(rows)) {
      const cell = document.createElement("div");
      cell.append(Object.assign(document.createElement("dt"), { textContent: name }),
        document.createElement("dd"));
      list.append(cell);
    }
  Object.values(rows).forEach((text, i) => { list.children[i].lastChild.textContent = text; });
}

function cache() {
  const box = $("cache");
  box.replaceChildren(
    ...state.sinks.map(n => Object.assign(document.createElement("span"),
      { textContent: n, className: "sink", title: "sink: never evicted" })),
    ...state.window.map(n => Object.assign(document.createElement("span"),
      { textContent: n, title: "ring" })));
  box.setAttribute("aria-label",
    `sink frames ${state.sinks.join(", ") || "none"}; ring frames ${state.window.join(", ") || "none"}`);
}

function prompts() {
  const list = $("prompts");
  list.querySelectorAll(".pending").forEach(item => item.remove());
  if (state.prompt && state.prompt !== lastPrompt) {
    lastPrompt = state.prompt;
    const item = document.createElement("li");
    const again = Object.assign(document.createElement("button"),
      { type: "button", textContent: state.prompt, title: "use again" });
    again.onclick = () => { $("prompt").value = again.textContent; $("prompt").focus(); };
    item.append(again, ` from frame ${state.prompt_frame}`);
    list.prepend(item);
    while (list.children.length > 50) list.lastChild.remove();
    if (![...$("history").options].some(option => option.value === state.prompt))
      $("history").append(Object.assign(document.createElement("option"), { value: state.prompt }));
  }
  for (const p of state.pending)
    list.prepend(Object.assign(document.createElement("li"),
      { className: "pending", textContent: `${p.text}, at frame ${p.frame}` }));
}

// ---- prompts that are mixed with the first one ----

const mostParts = 8;
let partCount = 0;

// Those that have a text; the first prompt counts 100 beside them.
function mixed() {
  return [...$("parts").children].map(row => ({
    text: row.querySelector("[type=text]").value.trim(),
    weight: Number(row.querySelector("[type=range]").value),
  })).filter(part => part.text);
}

function addPart() {
  const number = ++partCount + 1, row = document.createElement("div");
  row.className = "part";
  const text = Object.assign(document.createElement("input"),
    { type: "text", maxLength: 1000, autocomplete: "off" });
  text.setAttribute("list", "history");
  text.setAttribute("aria-label", `prompt ${number}`);
  text.setAttribute("aria-describedby", "prompt-error");
  const remove = Object.assign(document.createElement("button"),
    { type: "button", textContent: "Remove" });
  remove.setAttribute("aria-label", `remove prompt ${number}`);
  const weight = Object.assign(document.createElement("input"),
    { type: "range", min: 0, max: 100, step: 5, value: 50 });
  weight.setAttribute("aria-label", `weight of prompt ${number}, beside 100 of the first`);
  const shown = document.createElement("output");
  const tell = () => { shown.textContent = weight.value; };
  weight.oninput = tell;
  tell();
  remove.onclick = () => {
    row.remove();
    $("add").disabled = false;
    $("add").focus();
  };
  const line = document.createElement("div");
  line.className = "weight";
  line.append(weight, shown);
  row.append(text, remove, line);
  $("parts").append(row);
  $("add").disabled = $("parts").children.length + 1 >= mostParts;
  text.focus();
}
$("add").onclick = addPart;

$("prompt-form").onsubmit = event => {
  event.preventDefault();
  $("prompt-error").textContent = "";
  const message = { type: "prompt" }, text = $("prompt").value.trim(), others = mixed();
  if (!text) return;
  if (others.length) message.parts = [{ text, weight: 100 }, ...others];
  else message.text = text;
  if ($("recache").value) message.recache = $("recache").value;
  if (document.querySelector("[name=when]:checked").value === "frame") message.frame = Number($("at").value);
  send(message);
};
document.querySelectorAll("[name=when]").forEach(radio => {
  radio.onchange = () => {
    const at = document.querySelector("[name=when]:checked").value === "frame";
    $("at").disabled = !at;
    $("at").required = at;
    if (at && state && !$("at").value) $("at").value = state.frame + 2 * Math.ceil(state.fps);
  };
});
$("pause").onclick = () => send({ type: state && state.paused ? "resume" : "pause" });
$("step").onclick = () => send({ type: "step" });
$("seed-form").onsubmit = event => {
  event.preventDefault();
  send({ type: "seed", seed: Number($("seed").value) });
};
window.addEventListener("resize", () => state && plot.draw(1000 / state.fps * state.frames_per_block));
connect();
