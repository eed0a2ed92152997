// The page: a deal, the verdict on what is written, and the gallery. `DATA` comes from play.py. Text that players or
// models wrote only ever goes through textContent.
"use strict";
{
const checker = checkerOf(DATA.tables), dealer = dealerOf(DATA.tables, checker);
const FACES = ["J", "Q", "K"], SUITS = ["♠", "♥", "♣", "♦"];
const $ = (id) => document.getElementById(id);
const element = (tag, classes, ...children) => {
  const made = document.createElement(tag);
  made.className = classes;
  made.append(...children);
  return made;
};
const letters = ({ J, Q, K }) => J === Q && Q === K ? `J = Q = K = ${J}` : `J = ${J}, Q = ${Q}, K = ${K}`;
let deal, suits;

// -- the verdict -------------------------------------------------------------------------------------------------------

const FILTERS = ["strict-match", "flexible-extract"];

function judge() {
  const text = $("reply").value, judged = text.trim() ? FILTERS.map((filter) => checker.judgeAnswer(deal, text, filter)) : [];
  const [strict, flexible] = judged, same = strict && strict.verdict === flexible.verdict && strict.reason === flexible.reason;
  const panels = same ? [verdict(strict, FILTERS.join(" and "))] : judged.map((found, i) => verdict(found, FILTERS[i]));
  $("verdicts").replaceChildren(...panels);
  showCards(judged.find(({ other }) => other)?.other);
}

function verdict({ verdict: name, formula, reason, other }, filter) {
  const panel = element("div", `verdict ${name}`, element("h3", "", name, " ", element("small", "", filter)));
  panel.append(element("p", "", filter === "flexible-extract" && formula ? `${reason}; it reads ${formula}` : reason));
  if (other) panel.append(readings(formula, other));
  return panel;
}

// A formula that is right under another rule: as its writer reads it, and with the cards at their stated values.
function readings(formula, other) {
  const memorised = DATA.tables.rules[other], side = formula.split("=").reduce((a, b) => b.length > a.length ? b : a).trim();
  const left = [...deal.cards], parts = side.split(/(\d+|[AJQK])/).map((text) => {
    const place = left.findIndex((rank) => rank === text || String(checker.valueOf(rank, memorised)) === text);
    const [rank] = place < 0 ? [] : left.splice(place, 1);
    return FACES.includes(rank) ? { rank, text } : { text };
  });
  const box = (about, rule) => {
    const shown = parts.map(({ rank, text }) => rank ? element("b", "", String(checker.valueOf(rank, rule))) : text);
    const code = element("code", "", ...shown);
    const { reason } = checker.judgeAnswer({ ...deal, rule }, code.textContent, "flexible-extract");
    return element("div", "", element("small", "", about), code, reason);
  };
  const boxes = [box(`as memorised: ${letters(memorised)}`, memorised), box(`as stated: ${letters(deal.rule)}`, deal.rule)];
  return element("div", "reading", ...boxes);
}

// -- the deal ----------------------------------------------------------------------------------------------------------

function showCards(memorised) {
  const value = (number, about, classes = "") => element("span", classes, about, element("b", "", String(number)));
  $("cards").replaceChildren(...deal.cards.map((rank, i) => {
    const stated = checker.valueOf(rank, deal.rule), used = memorised ? checker.valueOf(rank, DATA.tables.rules[memorised]) : stated;
    const values = used === stated ? [value(stated, "counts as")] : [value(used, "used", "memorised"), value(stated, "stated")];
    const face = element("div", "rank", rank, element("span", "suit", suits[i]));
    const card = element("div", "♥♦".includes(suits[i]) ? "card red" : "card", face, element("div", "values", ...values));
    card.setAttribute("role", "listitem");
    return card;
  }));
}

// The built-in template uses nothing of Jinja but fields and a join.
const prompt = () => DATA.template.replace(/\{\{ (\w+)(?: \| join\("(.*?)"\))? \}\}/g, (_, name, between) => {
  const field = { ...deal, ...deal.rule }[name];
  return between === undefined ? field : field.join(between);
});

function lay(cards, rule, target = 24, reply = "", whose = "") {
  deal = { cards, rule, target };
  suits = suitsOf(cards);
  const name = checker.named(rule), chosen = name in DATA.tables.rules ? name : "own";
  $("rules").elements.rule.value = chosen;
  $("own").hidden = chosen !== "own";
  for (const face of FACES) $("rules").elements[face].value = rule[face];
  $("prompt").textContent = prompt();
  const words = prompt().split("\n").filter((line) => /^(Rule|Goal):/.test(line));
  $("rule-words").textContent = [...words, ...target === 24 ? [] : [`Reach ${target}.`]].join(" ");
  $("solution").textContent = "";
  $("reply").value = reply;
  $("whose").textContent = whose;
  judge();
}

// Suits mean nothing here. Cards of one rank get different ones, as in a real deck.
function suitsOf(cards) {
  const taken = {};
  return cards.map((rank, i) => {
    taken[rank] = rank in taken ? taken[rank] + 1 : i;
    return SUITS[taken[rank] % 4];
  });
}

// -- the gallery -------------------------------------------------------------------------------------------------------

function show(kind) {
  for (const button of $("kinds").children) button.setAttribute("aria-pressed", String(button.textContent === kind));
  $("meaning").textContent = DATA.verdicts[kind];
  const shown = DATA.gallery.filter(({ verdict }) => verdict === kind);
  $("gallery").replaceChildren(...shown.map((reply) => {
    const cards = reply.cards.map((rank) => element("i", "", rank));
    const { reason } = checker.judgeReply(reply, reply.reply, "strict-match");
    const button = element(
      "button", kind, element("div", "mini", ...cards, element("span", "", letters(reply.rule))), element("pre", "", reply.reply),
      element("span", "reason", reason), element("small", "", `${reply.model}, ${reply.task}`),
    );
    button.type = "button";
    button.addEventListener("click", () => { putDown(reply); scrollTo({ top: 0, behavior: "smooth" }); });
    return button;
  }));
  if (!shown.length) $("gallery").textContent = "None among these samples.";
}
function putDown({ cards, rule, target, reply, model, task }) {
  lay(cards, rule, target, reply, `of the model ${model} on ${task}; write your own`);
}

// -- what happens ------------------------------------------------------------------------------------------------------

$("rules").addEventListener("input", ({ target }) => {
  const { elements } = $("rules"), chosen = elements.rule.value;
  if (target.name === "rule" && chosen === "own") {
    $("own").hidden = false;
    for (const [i, face] of FACES.entries()) elements[face].value = [5, 7, 9][i];
  }
  if (chosen === "own" && !$("rules").checkValidity()) return;
  const rule = DATA.tables.rules[chosen] ?? Object.fromEntries(FACES.map((face) => [face, Number(elements[face].value)]));
  lay(deal.cards, rule, deal.target, $("reply").value);
});
$("rules").addEventListener("submit", (event) => event.preventDefault());
$("draw").addEventListener("click", () => { lay(dealer.draw(deal.rule), deal.rule); $("reply").focus(); });
$("solve").addEventListener("click", () => {
  $("solution").textContent = dealer.solution(deal) ?? "These cards have none.";
});
$("reply").addEventListener("input", () => { $("whose").textContent = ""; judge(); });
for (const kind of Object.keys(DATA.verdicts)) {
  const button = element("button", kind, kind);
  button.type = "button";
  button.addEventListener("click", () => show(kind));
  $("kinds").append(button);
}
show(Object.keys(DATA.verdicts)[0]);
// A first look: a reply in which only a face card can be the 10.
const first = DATA.gallery.find(({ verdict, cards }) => verdict === "wrong_rule" && !cards.includes("10"));
if (first) putDown(first);
else lay(dealer.draw(DATA.tables.rules.ood), DATA.tables.rules.ood);
}
