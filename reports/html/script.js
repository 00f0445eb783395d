"use strict";

// --- tables that sort ----------------------------------------------------------------------

// A cell's first number, as in ".756" or "−.031 [−.05, .01]"; NaN where it begins with none.
function numberOf(text) {
  return parseFloat(text.trim().replace("−", "-").replace(/,(?=\d{3})/g, ""));
}

function compareCells(one, other) {
  const a = numberOf(one), b = numberOf(other);
  if (!isNaN(a) && !isNaN(b)) return a - b;
  if (isNaN(a) !== isNaN(b)) return isNaN(a) ? 1 : -1; // dashes and words after numbers
  return one.localeCompare(other);
}

function sortTable(table, column, descending) {
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const text = (row) => row.cells[column].textContent;
    rows.sort((a, b) => compareCells(text(a), text(b)) * (descending ? -1 : 1));
    body.append(...rows);
  }
}

function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortTable(table, column, descending);
    });
  });
}

for (const table of document.querySelectorAll("main > section > .wide > table")) makeSortable(table);

// --- single images -------------------------------------------------------------------------

const PAGE = 48;

function read(id) {
  const block = document.getElementById(id);
  return block ? JSON.parse(block.textContent) : null;
}

function make(name, className, text) {
  const element = document.createElement(name);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function fill(template, values) {
  return template.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

// Thousandths as the field writes scores: .756, −.031, 1.000.
function score(value) {
  if (value === null) return "–";
  const text = (Math.abs(value) / 1000).toFixed(3);
  return (value < 0 ? "−" : "") + (text.startsWith("0") ? text.slice(1) : text);
}

function browse(data, words) {
  const { images, tests, modes, targets, attributes, prompts } = data;
  const n = images.prompt.length;
  const testsOf = Array.from({ length: n }, () => []);
  tests.image.forEach((image, test) => testsOf[image].push(test));
  const form = document.getElementById("filters"), cards = document.getElementById("cards");
  const more = document.getElementById("more"), count = document.getElementById("count");

  function field(name, label, element) {
    const holder = make("label", "", label);
    element.name = name;
    holder.append(element);
    form.append(holder);
    return element;
  }
  function choice(name, label, options) {
    const select = make("select");
    options.forEach(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      select.append(option);
    });
    return field(name, label, select);
  }
  const numbered = (names) => names.map((name, k) => [k, name]);
  const sorts = ["error", "apart", "pairs", "high", "order"];
  const modeNames = numbered(modes.map((mode) => mode.name));
  const target = choice("score", words.score, numbered(targets.map((one) => one.name)));
  const sort = choice("sort", words.sort, sorts.map((name) => [name, words[name]]));
  const mode = choice("mode", words.mode, [["", words.all_modes], ...modeNames]);
  const first = choice("first", words.first, modeNames);
  const second = choice("second", words.second, modeNames);
  second.selectedIndex = Math.min(1, modes.length - 1);
  const splits = [...new Set(tests.split)].sort((a, b) => a - b);
  const split = choice("split", words.split, [["", words.all], ...splits.map((k) => [k, k])]);
  const chosen = attributes.map((one, k) =>
    choice(`attribute-${k}`, one.name, [["", words.all], ...numbered(one.levels)]));
  const search = field("search", words.search, make("input"));
  search.type = "search";
  target.parentElement.hidden = targets.length < 2;

  // Mean over the tests of an image that the split's filter leaves; null where there is none.
  function value(image, k, part) {
    const column = tests.scores[target.value][k][part];
    if (!column) return null;
    const found = testsOf[image]
      .filter((test) => split.value === "" || tests.split[test] === Number(split.value))
      .map((test) => column[test]).filter((one) => one !== null);
    return found.length ? found.reduce((a, b) => a + b, 0) / found.length : null;
  }
  const mosOf = (image) => targets[target.value].mos[image] ?? null;
  const seen = () => mode.value === "" ? modes.map((_, k) => k) : [Number(mode.value)];

  function passes(image) {
    const text = search.value.trim().toLowerCase();
    return chosen.every((one, k) => one.value === "" || attributes[k].of[image] === Number(one.value))
      && (!text || prompts[images.prompt[image]].toLowerCase().includes(text))
      && testsOf[image].some((t) => split.value === "" || tests.split[t] === Number(split.value));
  }

  function errorOf(image, scores) {
    const mos = mosOf(image);
    const found = scores.filter((one) => one !== null).map((one) => Math.abs(one - mos));
    return mos === null || !found.length ? -1 : Math.max(...found);
  }

  // Pairs of images of one prompt that people and a mode rank the other way round. A pair counts by
  // the smaller of the two differences; of each image with the one that it is worst misranked with,
  // and by the mode that does so most.
  function misranked(passing) {
    const groups = new Map(), pairs = [];
    for (const image of passing) {
      const group = images.group[image];
      if (!groups.has(group)) groups.set(group, []);
      groups.get(group).push(image);
    }
    for (const group of groups.values()) {
      const worst = new Map();
      for (const k of seen()) {
        const rated = group
          .map((image) => ({ image, mos: mosOf(image), score: value(image, k, "prediction") }))
          .filter((one) => one.mos !== null && one.score !== null);
        for (const one of rated) {
          for (const other of rated) {
            const people = one.mos - other.mos, model = other.score - one.score;
            const by = Math.min(people, model);
            if (by <= (worst.get(one.image)?.by ?? 0)) continue;
            worst.set(one.image, { one: one.image, other: other.image, k, people, model, by });
          }
        }
      }
      pairs.push(...worst.values());
    }
    return pairs.sort((a, b) => b.by - a.by);
  }

  function ranked() {
    const passing = images.prompt.map((_, image) => image).filter(passes);
    if (sort.value === "pairs") return misranked(passing);
    if (sort.value === "order") return passing;
    const key = {
      high: mosOf,
      error: (image) => errorOf(image, seen().map((k) => value(image, k, "prediction"))),
      apart: (image) => {
        const two = [first, second].map((one) => value(image, Number(one.value), "prediction"));
        return two.includes(null) ? -1 : Math.abs(two[0] - two[1]);
      },
    }[sort.value];
    const keys = new Map(passing.map((image) => [image, key(image) ?? -1]));
    return passing.sort((a, b) => keys.get(b) - keys.get(a));
  }

  // One mode's row: people's opinion with its spread, from base (hollow) to prediction (full).
  function strip(image, k) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 76 18");
    const x = (thousandths) => 4 + (68 * thousandths) / 1000;
    const draw = (name, values) => {
      const part = document.createElementNS(svg.namespaceURI, name);
      for (const [key, one] of Object.entries(values)) part.setAttribute(key, one);
      svg.append(part);
    };
    const mos = mosOf(image), sd = targets[target.value].std[image] ?? null;
    draw("line", { class: "axis", x1: 4, x2: 72, y1: 9, y2: 9 });
    if (mos !== null && sd !== null) {
      const low = x(Math.max(0, mos - sd)), high = x(Math.min(1000, mos + sd));
      draw("rect", { class: "band", x: low, width: high - low, y: 0, height: 18 });
    }
    if (mos !== null) draw("line", { class: "people", x1: x(mos), x2: x(mos), y1: 0, y2: 18 });
    const base = value(image, k, "base"), whole = value(image, k, "prediction");
    const colour = modes[k].colour;
    if (base !== null && whole !== null) {
      draw("line", { x1: x(base), x2: x(whole), y1: 9, y2: 9, stroke: colour, "stroke-width": 1.6 });
      draw("circle", { cx: x(base), cy: 9, r: 2.6, fill: "var(--raised)", stroke: colour, "stroke-width": 1.4 });
    }
    if (whole !== null) draw("circle", { cx: x(whole), cy: 9, r: 3.6, fill: colour });
    return svg;
  }

  function numbers(image) {
    const table = make("table"), head = table.createTHead().insertRow(), body = table.createTBody();
    for (const word of ["", "", words.prediction, words.base, words.correction]) head.append(make("th", "", word));
    modes.forEach((one, k) => {
      if (value(image, k, "prediction") === null) return;
      const row = body.insertRow();
      row.append(make("th", "", one.name));
      row.insertCell().append(strip(image, k));
      for (const part of ["prediction", "base", "correction"]) row.insertCell().textContent = score(value(image, k, part));
    });
    return table;
  }

  function about(image) {
    const known = attributes.filter((one) => one.told[one.of[image]])
      .map((one) => `${one.name}: ${one.levels[one.of[image]]}`);
    return [images.name[image], ...known].join(" · ");
  }

  function card(image) {
    const holder = make("article", "card"), head = make("div", "head"), text = make("div");
    const picture = images.picture[image];
    if (picture) {
      const img = make("img");
      img.src = `data:image/${picture}`;
      img.alt = "";
      head.append(img);
    } else head.append(make("div", "nothing"));
    const prompt = make("p", "prompt", prompts[images.prompt[image]] || words.no_prompt);
    prompt.title = prompt.textContent;
    const sd = targets[target.value].std[image] ?? null, raters = images.raters[image] ?? null;
    const opinion = [`${words.mos} ${score(mosOf(image))}`];
    if (sd !== null) opinion.push(`${words.sd} ${score(sd)}`);
    if (raters !== null) opinion.push(fill(words.raters, { n: raters }));
    text.append(prompt, make("p", "mos", opinion.join(" · ")), make("p", "about", about(image)));
    head.append(text);
    holder.append(head, numbers(image));
    return holder;
  }

  function pairCard(pair) {
    const holder = make("article", "pair"), both = make("div");
    const said = { people: score(pair.people), model: score(pair.model), mode: modes[pair.k].name };
    both.append(card(pair.one), card(pair.other));
    holder.append(make("p", "", fill(words.pair, said)), both);
    return holder;
  }

  let list = [], drawn = 0;
  function drawMore() {
    const next = list.slice(drawn, drawn + PAGE);
    drawn += next.length;
    cards.append(...next.map((one) => (sort.value === "pairs" ? pairCard(one) : card(one))));
    more.hidden = drawn === list.length;
  }
  function update() {
    const pairs = sort.value === "pairs", apart = sort.value === "apart";
    first.parentElement.hidden = second.parentElement.hidden = !apart;
    mode.parentElement.hidden = apart;
    list = ranked();
    drawn = 0;
    cards.replaceChildren();
    const numbersSaid = { shown: list.length.toLocaleString("en"), all: n.toLocaleString("en") };
    count.textContent = !list.length ? (pairs ? words.no_pairs : words.none)
      : fill(pairs ? words.pair_count : words.count, numbersSaid);
    drawMore();
  }
  more.textContent = words.more;
  more.addEventListener("click", drawMore);
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}

const data = read("data");
if (data) browse(data, read("words"));
