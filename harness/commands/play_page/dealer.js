// Deals and solutions, for any rule.
"use strict";
const dealerOf = (tables, checker) => {

// Four cards of a deck that can be won; as in the hand sets, with a face card unless the rule is ID.
function draw(rule) {
  for (let tries = 0; tries < 1000; tries++) {
    const deck = Array.from({ length: 52 }, (_, i) => tables.ranks[i % 13]);
    const cards = Array.from({ length: 4 }, () => deck.splice(Math.floor(Math.random() * deck.length), 1)[0]);
    const wanted = tries > 200 || checker.named(rule) === "id" || cards.some((rank) => ["J", "Q", "K"].includes(rank));
    if (wanted && solution({ cards, rule, target: 24 })) return cards;
  }
  return ["A", "2", "3", "4"];
}

// The shortest formula that wins, else null. Values of four cards are exact in floating point as fractions.
function solution({ cards, rule, target }) {
  let best = null;
  const search = (items) => {
    if (items.length === 1) {
      const [{ above, below, text }] = items;
      if (above === target * below && (best === null || text.length < best.length)) best = text;
      return;
    }
    for (let i = 0; i < items.length; i++) for (let j = 0; j < items.length; j++) {
      if (i === j) continue;
      const rest = items.filter((_, k) => k !== i && k !== j);
      for (const op of i < j ? "+-*/" : "-/") if (op !== "/" || items[j].above) search([...rest, join(op, items[i], items[j])]);
    }
  };
  const values = cards.map((rank) => checker.valueOf(rank, rule));
  search(values.map((value) => ({ above: value, below: 1, text: String(value), op: "" })));
  return best;
}

function join(op, a, b) {
  const isSum = (op) => op === "+" || op === "-", bracket = (side, needed) => needed ? `(${side.text})` : side.text;
  const left = bracket(a, !isSum(op) && isSum(a.op));
  const right = bracket(b, op === "/" ? b.op !== "" : op !== "+" && isSum(b.op));
  const text = left + op + right;
  if (op === "*") return { above: a.above * b.above, below: a.below * b.below, text, op };
  if (op === "/") return { above: a.above * b.below, below: a.below * b.above, text, op };
  const sign = op === "+" ? 1 : -1;
  return { above: a.above * b.below + sign * b.above * a.below, below: a.below * b.below, text, op };
}

return { draw, solution };
};
