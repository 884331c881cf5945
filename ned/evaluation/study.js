"use strict";
(() => {
  const study = JSON.parse(document.getElementById("study").textContent);
  const stage = document.getElementById("stage");
  let rater = "";
  let record = null;
  let memory = {};

  // The same words give the same number: FNV-1a, 32 bits.
  function hash(words) {
    let value = 0x811c9dc5;
    for (const byte of new TextEncoder().encode(words)) {
      value = Math.imul(value ^ byte, 0x01000193);
    }
    return value >>> 0;
  }

  // Numbers in [0, 1): a counter, well mixed.
  function generator(words) {
    let state = hash(words);
    return () => {
      state = (state + 0x9e3779b9) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b);
      mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
      return ((mixed ^ (mixed >>> 16)) >>> 0) / 4294967296;
    };
  }

  // A random order in which the same take does not come twice in a row, where that can be.
  function shuffled(trials, random) {
    const left = trials.slice();
    for (let i = left.length - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [left[i], left[j]] = [left[j], left[i]];
    }
    const order = [];
    while (left.length) {
      const last = order.length ? order[order.length - 1].take : null;
      const many = left.find((one) => left.filter((t) => t.take === one.take).length * 2 > left.length);
      const next = left.findIndex((t) => t.take !== last && (!many || t.take === many.take));
      order.push(left.splice(Math.max(next, 0), 1)[0]);
    }
    return order;
  }

  function trialsOf(name) {
    const random = generator(`${study.id} ${name}`);
    const rated = shuffled(study.trials.filter((trial) => trial.clips.length === 1), random);
    const compared = shuffled(study.trials.filter((trial) => trial.clips.length === 2), random);
    return rated.concat(compared).map((trial) => {
      const turned = trial.clips.length === 2 && random() < 0.5;
      return { ...trial, clips: turned ? trial.clips.slice().reverse() : trial.clips };
    });
  }

  function place() {
    return `ned-study ${study.id} ${rater}`;
  }

  function load() {
    let words = memory[place()];
    try {
      words = localStorage.getItem(place()) || words;
    } catch { /* without storage, answers live as long as the page */ }
    return words ? JSON.parse(words) : null;
  }

  function keep() {
    memory[place()] = JSON.stringify(record);
    try {
      localStorage.setItem(place(), memory[place()]);
    } catch { /* as above */ }
  }

  function make(tag, attributes, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (name in element && typeof value !== "string") element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  function show(...children) {
    stage.replaceChildren(...children);
    window.scrollTo(0, 0);
  }

  function start() {
    const field = make("input", { type: "text", id: "rater", maxlength: "40", autocomplete: "off" });
    const warning = make("p", { class: "warning", role: "alert" });
    const form = make("form", {},
      make("p", {}, study.introduction),
      make("p", {}, `There are ${study.trials.length} steps. You can close the page and go on later in the same browser.`),
      make("div", { class: "row" },
        make("label", { for: "rater" }, "Your name or number: "), field,
        make("button", { type: "submit" }, "Start")),
      warning);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      rater = field.value.trim();
      if (!/^[\p{L}\p{N}][\p{L}\p{N} ._-]*$/u.test(rater)) {
        warning.textContent = "Please give a name or number of letters and digits.";
        return;
      }
      record = load() || {
        format: study.answers, study: study.id, rater, started: new Date().toISOString(),
        finished: null, answers: [],
      };
      step(trialsOf(rater));
    });
    show(form);
    field.focus();
  }

  function field(question) {
    return `question ${question.name}`;
  }

  function optionsOf(question, name) {
    const box = make("div", { class: "options" });
    let values = question.choices;
    if (question.kind === "scale") {
      values = Array.from({ length: question.steps }, (_, i) => i + 1);
      box.append(make("span", { class: "end" }, question.lowest));
    }
    if (question.kind === "preference") values = ["A", "B"];
    values.forEach((value, index) => {
      const radio = make("input", { type: "radio", name, value: String(index) });
      box.append(make("label", {}, radio, ` ${value}`));
    });
    if (question.kind === "scale") box.append(make("span", { class: "end" }, question.highest));
    return box;
  }

  function step(trials) {
    const done = new Set(record.answers.map((answer) => answer.trial));
    const trial = trials.find((one) => !done.has(one.id));
    if (!trial) {
      finish();
      return;
    }
    const began = performance.now();
    const pair = trial.clips.length === 2;
    const questions = study.questions.filter((q) => (q.kind === "preference") === pair);
    const watched = new Set();
    let failed = false;
    const next = make("button", { type: "submit", disabled: true }, "Next");
    const hint = make("p", { class: "quiet" }, pair ? "Watch both clips to their ends." : "Watch the clip to its end.");
    const form = make("form", { id: "trial", noValidate: true });

    function check() {
      const answered = questions.every((q) => form.elements[field(q)].value !== "");
      next.disabled = !(failed || (watched.size === trial.clips.length && answered));
    }

    const videos = trial.clips.map((clip, index) => {
      const video = make("video", { src: study.files[clip], controls: true, preload: "auto", playsinline: "" });
      video.addEventListener("ended", () => { watched.add(index); check(); });
      video.addEventListener("error", () => {
        failed = true;
        hint.className = "warning";
        hint.textContent = "A clip cannot be played here. Press Next to leave it out, or try another browser.";
        next.textContent = "Next without an answer";
        check();
      });
      return video;
    });
    const clips = make("div", { class: "clips" }, ...videos.map((video, index) =>
      make("figure", {}, video, pair ? make("figcaption", {}, index ? "B" : "A") : "")));
    for (const question of questions) {
      form.append(make("fieldset", {}, make("legend", {}, question.words), optionsOf(question, field(question))));
    }
    form.append(hint, make("div", { class: "row" }, next));
    form.addEventListener("change", check);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const values = {};
      for (const question of questions) {
        const index = Number(form.elements[field(question)].value);
        if (failed) continue;
        if (question.kind === "scale") values[question.name] = index + 1;
        else if (question.kind === "choice") values[question.name] = question.choices[index];
        else values[question.name] = trial.clips[index];
      }
      record.answers.push({
        trial: trial.id, clips: trial.clips, values, failed,
        seconds: Math.round((performance.now() - began) / 100) / 10,
      });
      keep();
      step(trials);
    });
    const both = make("button", { type: "button", class: "other" }, "Play both from the start");
    both.addEventListener("click", () => videos.forEach((video) => {
      video.currentTime = 0;
      video.play();
    }));
    show(
      make("p", { class: "quiet" }, `${done.size + 1} of ${trials.length}`),
      make("progress", { max: String(trials.length), value: String(done.size), "aria-label": "progress" }),
      clips, ...(pair ? [make("div", { class: "row" }, both)] : []), form);
    check();
  }

  function finish() {
    record.finished = record.finished || new Date().toISOString();
    keep();
    const words = JSON.stringify(record, null, 1);
    const link = make("a", {
      href: URL.createObjectURL(new Blob([words], { type: "application/json" })),
      download: `answers_${study.id}_${rater.replace(/[^\p{L}\p{N}_-]/gu, "_")}.json`,
    });
    const save = make("button", { type: "button", id: "save" }, "Save the answers");
    save.addEventListener("click", () => link.click());
    show(
      make("h2", {}, "Thank you, that was all."),
      make("p", {}, "Save the answers to a file and send it to whoever asked you."),
      make("div", { class: "row" }, save),
      make("p", { class: "quiet" }, "If saving does not work, copy this text:"),
      make("textarea", { id: "answers", readonly: "", "aria-label": "answers" }, words));
  }

  start();
})();
