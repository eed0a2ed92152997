// The checker of points24 in JavaScript: reply -> formula -> verdict and reason, step by step as in tasks/formula.py,
// notation.py, expressions.py, replies.py and verdict.py, which explain the steps. The patterns, tables and limits are
// those modules' own, handed in as `tables`. Nothing that anybody writes is ever executed.
"use strict";
const checkerOf = (tables) => {

// A Python pattern, with Python's ways of using it.
class Pattern {
  constructor({ pattern, ignore_case }) {
    this.anywhere = new RegExp(pattern, ignore_case ? "giu" : "gu");
    this.here = new RegExp(pattern, ignore_case ? "iuy" : "uy");
  }
  search(text) { this.anywhere.lastIndex = 0; return this.anywhere.exec(text); }
  match(text, at = 0) { this.here.lastIndex = at; return this.here.exec(text); }
  all(text) { this.anywhere.lastIndex = 0; return [...text.matchAll(this.anywhere)]; }
  sub(text, by) { return text.replace(this.anywhere, by); }
}
const revived = (value) => {
  if (Array.isArray(value)) return new Set(value);
  if (value === null || typeof value !== "object") return value;
  return "pattern" in value ? new Pattern(value) : new Map(Object.entries(value));
};
const constants = (name) => Object.fromEntries(Object.entries(tables[name]).map(([key, value]) => [key, revived(value)]));
const F = constants("formula"), N = constants("notation"), E = constants("expressions"), R = constants("replies");
const ENTITIES = new Map(Object.entries(tables.entities));

// Python's strings: lengths in characters, its white space, its line ends.
const SPACES = "\t\n\v\f\r\x1c\x1d\x1e\x1f \x85\xa0"
  + "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
const lengthOf = (text) => text.length - (text.match(/[\ud800-\udbff][\udc00-\udfff]/g) ?? []).length;
const first = (text, n) => [...text.slice(0, 2 * n)].slice(0, n).join("");
const last = (text, n) => [...text.slice(-2 * n)].slice(-n).join("");
const lstrip = (text, signs = SPACES) => {
  let start = 0;
  while (start < text.length && signs.includes(text[start])) start++;
  return text.slice(start);
};
const rstrip = (text, signs = SPACES) => {
  let end = text.length;
  while (end && signs.includes(text[end - 1])) end--;
  return text.slice(0, end);
};
const strip = (text, signs = SPACES) => lstrip(rstrip(text, signs), signs);
const count = (text, sign) => text.split(sign).length - 1;
const quoted = (text) => {
  const coded = (sign) => {
    const code = sign.codePointAt(0).toString(16), [letter, digits] = code.length > 4 ? ["U", 8] : code.length > 2 ? ["u", 4] : ["x", 2];
    return `\\${letter}${code.padStart(digits, "0")}`;
  };
  const escaped = text.replaceAll("\\", "\\\\").replace(/(?! )[\p{C}\p{Z}]/gu, coded);
  return escaped.includes("'") ? `"${escaped}"` : `'${escaped}'`;
};

// -- formula.py: a number is a BigInt, an operation [op, left, right] --------------------------------------------------

class FormulaError extends Error {}
const tokensOf = (text, token) => {
  if (lengthOf(text) > F.MAX_LENGTH) throw new FormulaError(`longer than ${F.MAX_LENGTH} characters`);
  return token.all(text).map((found) => found[0]);
};
const parse = (text) => new Parser(tokensOf(text, F.STRICT_TOKEN), F.STRICT_CLOSERS, new Map()).formula(null);
const parseFlexible = (text, letters, target) => {
  const tokens = tokensOf(text, F.FLEXIBLE_TOKEN).filter((token) => !F.SKIPPED.has(token));
  return new Parser(tokens.map((token) => F.SPELLINGS.get(token) ?? token), F.FLEXIBLE_CLOSERS, letters).formula(target);
};
const numbersOf = (tree) => typeof tree === "bigint" ? [tree] : [...numbersOf(tree[1]), ...numbersOf(tree[2])];

// [numerator, denominator], not in lowest terms; null where it divides by zero.
const ratio = (tree) => {
  if (typeof tree === "bigint") return [tree, 1n];
  const left = ratio(tree[1]), right = left && ratio(tree[2]);
  if (!right) return null;
  const [a, b] = left, [c, d] = right;
  if (tree[0] === "*") return [a * c, b * d];
  if (tree[0] === "/") return c ? [a * d, b * c] : null;
  return [tree[0] === "+" ? a * d + c * b : a * d - c * b, b * d];
};
const equals = (tree, number) => { const value = ratio(tree); return value !== null && value[0] === number * value[1]; };

class Parser {
  constructor(tokens, closers, letters) {
    Object.assign(this, { tokens: [...tokens, ""], closers, letters, place: 0, depth: 0 });
  }
  formula(target) {
    const sides = [this.expression()];
    while (target !== null && this.peek() === "=") { this.next(); sides.push(this.expression()); }
    if (this.peek()) throw new FormulaError(`unexpected ${quoted(this.peek())}`);
    if (target === null || sides.length === 1) return sides[0];
    if (sides[0] !== target && sides.at(-1) !== target)
      throw new FormulaError(`an equation that neither begins nor ends with ${target}`);
    sides.splice(sides.indexOf(target), 1);
    const longest = Math.max(...sides.map((side) => numbersOf(side).length));
    const [formula] = sides.splice(sides.findIndex((side) => numbersOf(side).length === longest), 1);
    if (!sides.every((side) => equals(side, target))) throw new FormulaError(`a step that does not equal ${target}`);
    return formula;
  }
  chain(operators, member) {
    let left = member();
    while (operators.includes(this.peek()) && this.peek()) left = [this.next(), left, member()];
    return left;
  }
  expression() { return this.chain("+-", () => this.chain("*/", () => this.factor())); }
  factor() {
    const token = this.next();
    if (this.closers.has(token)) return this.bracketed(this.closers.get(token));
    if (/^[0-9]+$/.test(token)) return BigInt(token);
    if (this.letters.has(token)) return this.letters.get(token);
    if (token === "\\frac" && this.closers === F.FLEXIBLE_CLOSERS) {
      this.expect("{");
      const above = this.bracketed("}");
      this.expect("{");
      return ["/", above, this.bracketed("}")];
    }
    throw new FormulaError(token ? `unexpected ${quoted(token)}` : "ends too early");
  }
  bracketed(closer) {
    if (++this.depth > F.MAX_DEPTH) throw new FormulaError(`brackets nested deeper than ${F.MAX_DEPTH}`);
    const inside = this.expression();
    this.expect(closer);
    this.depth--;
    return inside;
  }
  expect(wanted) {
    const token = this.next();
    if (token !== wanted) throw new FormulaError(`expected ${quoted(wanted)}, found ${quoted(token || "the end")}`);
  }
  peek() { return this.tokens[this.place]; }
  next() { const token = this.peek(); if (token) this.place++; return token; }
}

// -- notation.py -------------------------------------------------------------------------------------------------------

const unescapedHtml = (text) => text.replace(/&(#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)/gu, (whole, name) => {
  if (name[0] === "#") return characterOf(/^#[xX]/.test(name) ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10));
  for (let end = name.length; end > 1; end--) {
    const found = ENTITIES.get(name.slice(0, end));
    if (found !== undefined) return found + name.slice(end);
  }
  return whole;
});
const characterOf = (code) => {
  if (code === 0x0d) return "\r";
  if (code >= 0x80 && code <= 0x9f) return new TextDecoder("windows-1252").decode(Uint8Array.of(code));
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return "\ufffd";
  return String.fromCodePoint(code).replace(/[\x01-\x08\x0b\x0e-\x1f\x7f\p{Noncharacter_Code_Point}]/u, "");
};
const inPlainSigns = (sign) => {
  if (N.SIGNS.has(sign)) return N.SIGNS.get(sign);
  const code = sign.codePointAt(0);
  if (code >= 0xff01 && code <= 0xff5e && !"，：；？".includes(sign)) return String.fromCodePoint(code - 0xfee0);
  if (/[\p{Cf}\p{Mn}]/u.test(sign)) return "";
  if (/[\p{So}\p{Zs}]/u.test(sign)) return " ";
  return /[\p{No}\p{Nl}]/u.test(sign) ? "^" : sign;
};
const plain = (text, markdown = true) => {
  if (text.includes("&")) text = unescapedHtml(text);
  if (/[<[｜]/.test(text)) text = N.TAG.sub(N.POWER_TAG.sub(N.CONTROL.sub(text, "\n"), "^"), " ");
  if (text.includes("\\")) text = withoutLatex(text);
  text = text.replace(/[^\x00-\x7f]/gu, inPlainSigns);
  text = N.X.sub(markdown ? N.EMPHASIS.sub(text, "") : text, "*");
  text = N.WORD.sub(text, (_, word) => N.WORDS.get(word));
  text = N.VALUE_WITH_LETTER.sub(N.LETTER_WITH_VALUE.sub(text, "$1"), "$1$2");
  text = N.RESULT_AFTER_ARROW.sub(N.ARROW.sub(text, " → "), "= ").replaceAll("→", "\n");
  return N.WHOLE_DECIMAL.sub(N.RESULT_IN_BRACKETS.sub(text, "= $1"), "$1");
};
const withoutLatex = (text) => {
  text = N.BREAK.sub(text, "\n").replaceAll("&=", "=");
  if (N.ENVIRONMENT.search(text)) text = N.ENVIRONMENT.sub(text, "\n").replaceAll("&", " ");
  text = text.replaceAll("\\\\", "\\");
  text = N.FONT.sub(N.FONT.sub(text, " $1 "), " $1 ");
  text = N.COMMAND.sub(text, (whole, name) => N.COMMANDS.get(name) ?? whole);
  return N.BARE_BOX.sub(N.ESCAPED.sub(N.SPACE.sub(text, " "), "$1"), " $1 ");
};

// -- expressions.py ----------------------------------------------------------------------------------------------------

const hasOperator = (text) => E.OPERATOR.search(text) !== null;
const hasProse = (text) => E.PROSE.search(text) !== null;
const operandsOf = ({ text }) => Math.max(...text.split("=").map((side) => E.OPERAND.all(side).length));
const isWithdrawn = ({ before, after }) => Boolean(E.NOT_BEFORE.search(before) || E.NOT_AFTER.match(after));
const misses = ({ text }, target) => {
  const sides = text.split("=").map((side) => strip(side)), result = sides.at(-1);
  return sides.length > 1 && /^\p{Nd}+$/u.test(result) && ![sides[0], result].includes(String(target));
};
const lastMarked = (text) => {
  let place = -1, end = 0, marked = "", inJson = true;
  for (const found of E.FORMULA_KEY.all(text)) {
    [place, end] = [found.index - 1, found.index + found[0].length];
    marked = unescaped(found.groups.text ?? found.groups.tokens.replace(/["',]/g, ""));
  }
  const mark = (at, start, inside) => {
    if (hasOperator(inside)) [place, end, marked, inJson] = [at, start + inside.length, inside, false];
  };
  for (let box = text.lastIndexOf(E.BOX); box > place; box = box ? text.lastIndexOf(E.BOX, box - 1) : -1) {
    const inside = insideBraces(text, box + E.BOX.length);
    if (inside === null) break;
    mark(box, box + E.BOX.length, inside);
  }
  const answer = text.lastIndexOf(E.ANSWER);
  if (answer > place) mark(answer, answer + E.ANSWER.length, text.slice(answer + E.ANSWER.length).split("</")[0]);
  if (place < 0) return null;
  const formula = strip(plain(marked, !inJson), " \t\r\n$");
  return { text: formula, before: last(text.slice(0, place), 20), after: first(text.slice(end), 99) };
};
const insideBraces = (text, start) => {
  let depth = 1, inside = "";
  for (const sign of first(text.slice(start), 600)) {
    depth += (sign === "{") - (sign === "}");
    if (depth === 0) return inside;
    inside += sign;
  }
  return null;
};
const unescaped = (text) => E.JSON_ESCAPE.sub(
  text.replaceAll("\\\\", "\\").replaceAll("\\/", "/"), (_, code) => code ? String.fromCharCode(parseInt(code, 16)) : " ");

function* expressionsFromTheEnd(text) {
  let after = "";
  for (const line of linesOf(plain(text)).reverse()) {
    const inProse = hasProse(line), spans = inProse ? spansOf(line).reverse() : [[0, line.length]];
    for (const [start, end] of spans) {
      const before = last(line.slice(0, start), 20);
      yield { text: trimmed(line.slice(start, end), inProse), before, after: first(line.slice(end), 99) + after };
    }
    after = "\n" + first(line, 99);
  }
}
const linesOf = (text) => {
  const lines = text.split(/\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/);
  const found = lines.map((line) => strip(E.COMMENT.sub(line, ""))).filter(Boolean), joined = [];
  for (const line of found) {
    const isRow = line.startsWith("|") && line.endsWith("|") && count(line, "|") > 2;
    const sole = found.length === 1 && /^[-+] \(/.test(line), bullet = sole ? null : E.BULLET.match(line);
    for (const part of isRow ? strip(line, "|").split("|") : [line.slice(bullet ? bullet[0].length : 0)]) {
      if (joined.length && !isRow && (part.startsWith("=") || goesOn(joined.at(-1).at(-1)))) joined.at(-1).push(part);
      else joined.push([part]);
    }
  }
  return joined.map((parts) => parts.join(" "));
};
const goesOn = (line) => {
  const end = last(line, 12);
  return Boolean(E.OPEN_END.search(end) || (E.OPEN_DASH.search(end) && !hasProse(line)));
};
const spansOf = (line) => {
  const spans = [];
  let start = -1, end = 0, operand = false;
  const ties = (word, at) => {
    if (/[^\x00-\x7f]/.test(word)) return false;
    if (start >= 0 && end === at && ")]}".includes(line[end - 1])) return true;
    const single = /^[a-z]$/.test(word), sign = start >= 0 && !operand ? line[end - 1] : "";
    if (sign && ("*/^√".includes(sign) || ("+-".includes(sign) && (single || end === at)))) return true;
    const after = at + word.length;
    return Boolean(E.TIED_AFTER.match(line, after) || (single && E.LETTER_TIED_AFTER.match(line, after)));
  };
  for (const { 0: token, index: at, groups } of E.TOKEN.all(line)) {
    const kind = E.OPERATOR_WORDS.has(token) ? "sign" : Object.keys(groups).find((name) => groups[name] !== undefined);
    if (kind === "blank") continue;
    const breaks = kind === "stop" || (kind === "word" && !ties(token, at));
    const isOperand = ["number", "card", "word"].includes(kind);
    if (start >= 0 && (breaks || (operand && isOperand && end < at))) { spans.push([start, end]); start = -1; }
    if (breaks) continue;
    if (start < 0) start = at;
    [end, operand] = [at + token.length, isOperand];
  }
  return start >= 0 ? [...spans, [start, end]] : spans;
};
const trimmed = (expression, inProse) => {
  if (inProse) expression = E.DASHES.sub(expression, "");
  expression = rstrip(withoutRemark(lstrip(expression, " \t*=_#$`")), " \t*=_$`.");
  if (!inProse) return withoutRemark(expression);
  expression = rstrip(expression, " \t*=_$`.([{");
  for (const [opener, closer] of ["()", "[]", "{}"]) {
    const surplus = count(expression, closer) - count(expression, opener);
    for (let i = 0; i < Math.min(Math.abs(surplus), E.MAX_DEPTH); i++) {
      if (surplus > 0 && expression.endsWith(closer)) expression = rstrip(expression.slice(0, -1));
      else if (surplus < 0 && expression.startsWith(opener)) expression = lstrip(expression.slice(1));
    }
  }
  return withoutRemark(expression);
};
const withoutRemark = (expression) => {
  const remark = E.RESULT_BEFORE_REMARK.search(expression);
  if (remark) expression = expression.slice(0, remark.index + remark[0].length);
  return isEquationInBrackets(expression) ? strip(expression.slice(1, -1)) : expression;
};
const isEquationInBrackets = (expression) => {
  if (!expression.includes("=") || !expression.startsWith("(")) return false;
  let depth = 0;
  for (let place = 0; place < expression.length; place++) {
    depth += (expression[place] === "(") - (expression[place] === ")");
    if (depth === 0) return place === expression.length - 1;
  }
  return false;
};

// -- replies.py --------------------------------------------------------------------------------------------------------

const extractStrict = (reply) => {
  const [answer, isOpen] = withoutThinking(reply), text = strip(answer);
  if (isOpen || !text.startsWith("{") || !text.endsWith("}") || lengthOf(text) > R.MAX_ANSWER) return null;
  let found, kept = 0;
  const counting = function (_, value) { kept += !Array.isArray(this); return value; };
  try { found = JSON.parse(text, counting); } catch { return null; }
  // JSON.parse lets a later key replace an earlier one: fewer keys are kept than were written. The root counts as one.
  const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter((string) => string[1]).length;
  if (written !== kept - 1 || !tables.reply_keys.every((key) => Object.hasOwn(found, key))) return null;
  return typeof found.formula === "string" && strip(found.formula) ? found.formula : null;
};
const extractFlexible = (reply, operands, target) => {
  const answer = endOf(withoutThinking(reply)[0]), marked = lastMarked(answer);
  if (marked === null) return choice(answer, operands, target);
  if (isWithdrawn(marked)) return null;
  if (hasProse(marked.text)) return choice(marked.text, operands, target) ?? (hasOperator(marked.text) ? marked.text : null);
  return withoutRemark(marked.text) || null;
};
const choice = (text, operands, target) => {
  let missing = null, partial = null;
  for (const expression of expressionsFromTheEnd(text)) {
    if (!hasOperator(expression.text) || isWithdrawn(expression)) continue;
    const found = operandsOf(expression);
    if (found >= operands) {
      if (!misses(expression, target)) return expression.text;
      missing ??= expression.text;
    } else if (found > 1) partial ??= expression.text;
  }
  return missing ?? partial;
};
const withoutThinking = (reply) => {
  const closed = R.THINKING.sub(reply, (...found) => found.at(-1).opens ? R.OPENS : R.CLOSES).split(R.CLOSES);
  const rest = closed.pop();
  const parted = (text) => { const at = text.indexOf(R.OPENS); return at < 0 ? [text, false] : [text.slice(0, at), true]; };
  let kept = "";
  for (const segment of closed) { const [before, opened] = parted(segment); kept = opened ? kept + before : ""; }
  const [answer, isOpen] = parted(rest);
  return [kept + answer, isOpen];
};
const endOf = (text) => {
  if (lengthOf(text) <= R.MAX_ANSWER) return text;
  const end = last(text, R.MAX_ANSWER), border = R.BORDER.search(end);
  return border ? end.slice(border.index + border[0].length) : "";
};

// -- verdict.py: a deal is { cards, rule: { J, Q, K }, target } --------------------------------------------------------

const shown = ({ J, Q, K }) => `J=${J},Q=${Q},K=${K}`;
const named = (rule) => Object.keys(tables.rules).find((name) => shown(tables.rules[name]) === shown(rule)) ?? shown(rule);
const valueOf = (rank, rule) => BigInt(rank === "A" ? 1 : rule[rank] ?? rank);
const valuesOf = (deal) => deal.cards.map((rank) => valueOf(rank, deal.rule));
const sorted = (values) => values.sort((a, b) => a < b ? -1 : a > b ? 1 : 0).join(" ");
const gcd = (a, b) => b ? gcd(b, a % b) : a < 0n ? -a : a;
const underItsRule = (deal, formula, flexible) => {
  if (formula === null) return { verdict: "no_answer", formula, reason: "no formula found" };
  const target = BigInt(deal.target), letters = new Map(["A", "J", "Q", "K"].map((face) => [face, valueOf(face, deal.rule)]));
  let tree;
  try {
    tree = flexible ? parseFlexible(formula, letters, target) : parse(formula);
  } catch (error) {
    if (!(error instanceof FormulaError)) throw error;
    return { verdict: "illegal", formula, reason: `not a legal formula: ${error.message}` };
  }
  const used = sorted(numbersOf(tree)), dealt = sorted(valuesOf(deal));
  if (used !== dealt) return { verdict: "wrong_numbers", formula, reason: `uses ${used}; the cards count as ${dealt}` };
  const value = ratio(tree);
  if (value === null) return { verdict: "wrong_value", formula, reason: "divides by zero" };
  if (value[0] === target * value[1]) return { verdict: "correct", formula, reason: `equals ${target}` };
  const unit = gcd(...value) * (value[1] < 0n ? -1n : 1n), [above, below] = value.map((part) => part / unit);
  return { verdict: "wrong_value", formula, reason: `equals ${above}${below === 1n ? "" : `/${below}`}, not ${target}` };
};
const judge = (deal, formula, flexible) => {
  const judgement = underItsRule(deal, formula, flexible);
  if (!["wrong_value", "wrong_numbers"].includes(judgement.verdict)) return judgement;
  for (const [name, rule] of Object.entries(tables.rules)) {
    const other = { ...deal, rule };
    if (valuesOf(other).join() !== valuesOf(deal).join() && underItsRule(other, formula, flexible).verdict === "correct")
      return { verdict: "wrong_rule", formula, reason: `right under rule ${name}, not ${named(deal.rule)}`, other: name };
  }
  return judgement;
};
const EXTRACTIONS = {
  "strict-match": (deal, reply) => judge(deal, extractStrict(reply), false),
  "flexible-extract": (deal, reply) => judge(deal, extractFlexible(reply, deal.cards.length, deal.target), true),
};
return {
  // A whole reply, by the name of lm-eval's filter.
  judgeReply: (deal, reply, extraction) => EXTRACTIONS[extraction](deal, reply),
  // A bare formula or a whole reply: under strict-match, a text that starts with a brace is a reply.
  judgeAnswer: (deal, answer, extraction) => extraction === "strict-match" && !lstrip(answer).startsWith("{")
    ? judge(deal, strip(answer) ? answer : null, false) : EXTRACTIONS[extraction](deal, answer),
  valueOf: (rank, rule) => Number(valueOf(rank, rule)),
  named,
};
};
