// Find things in the network's answers at all places of a view, and tell them apart over time: models/classifier/finder.py and
// objects.py, with the same names. Their rules are in model.json.

function softmax(logits) {
  const most = Math.max(...logits), powers = logits.map((value) => Math.exp(value - most)), total = powers.reduce((sum, power) => sum + power, 0);
  return powers.map((power) => power / total);
}

const STILL = [0, 0, 0, 0];
const least = (all, of) => all.reduce((best, one) => (of(one) < of(best) ? one : best), all[0]);
const after = ({ box, speed }, steps) => box.map((value, k) => value + steps * speed[k]);
const rounded = (value) => Math.round(100 * value) / 100;
const thing = (id, at, boxes) => ({ id, at, box: boxes[at], kind: 0, found: 1, missed: 0, hidden: false, speed: STILL });

class Finder {
  /** facts: "view" of model.json; classes: how many logits each place has. */
  constructor({ places, pyramid, rules }, classes) {
    Object.assign(this, { ...places, pyramid, rules, classes, issued: 0 });
    this.reset();
  }

  reset() {
    this.recent = [];
    this.things = [];
  }

  /** The things in a step, {id, box, logits, lit} each; without any the likeliest place, whose id is 0. x: the atlas. */
  find(x, logits) {
    const { classes, rules, recent, boxes } = this;
    const own = this.places.map((place) => logits.slice(place * classes, (place + 1) * classes));
    recent.push(own);
    if (recent.length > rules.window) recent.shift();
    const answers = own.map((_, at) => this.answer(at)), sure = answers.map((one) => one.sure);
    const likely = sure.map((of, at) => ({ at, box: boxes[at], sure: of })).filter((one) => one.sure > rules.goes_on);
    const found = distinct(likely, rules).map(({ at }) => at);
    this.follow(found, sure, answers, x.some(Boolean));
    const held = this.things.filter(({ missed }) => missed <= rules.lasts), shown = held.length ? held : [thing(0, found[0] ?? sure.indexOf(Math.max(...sure)), boxes)];
    const box = (one) => after(one, rules.late + (one.hidden ? one.missed : 0)).map(rounded);
    return shown.map((one) => ({ id: one.id, box: box(one), logits: own[one.at], lit: one.hidden ? 0 : this.lit(x, one.at) }));
  }

  /** The likeliest class at a place over the last steps, {kind, sure}; that of none has the logit 0. */
  answer(at) {
    const { recent } = this, mean = recent[0][at].map((_, k) => recent.reduce((sum, step) => sum + step[at][k], 0) / recent.length);
    const shares = softmax([...mean, 0]).slice(0, -1), sure = Math.max(...shares);
    return { sure, kind: shares.indexOf(sure) };
  }

  /** Move the things to where they are found, begin new ones and forget what is gone. frame: whether one came, moved, so what is there sends events. */
  follow(found, sure, answers, frame) {
    const { begins, most, lasts, returns, follows, turns, same: [near] } = this.rules, left = new Set(this.things), held = ({ missed }) => missed <= lasts;
    const now = (one) => after(one, one.missed + 1);
    for (const at of found) {
      const box = this.between(sure, at), { kind } = answers[at], away = (one) => this.distance(now(one), box);
      const maybe = (one) => (held(one) || one.kind === kind) && away(one) < near * Math.max(1, one.missed / lasts);
      const nearest = least([...left].filter(maybe), away);
      left.delete(nearest);
      if (nearest) {
        const there = now(nearest), way = box.map((value, k) => value - there[k]), count = nearest.found + 1;
        const speed = nearest.speed.map((value, k) => value + (k < 2 ? Math.max(turns, 1 / (count + 2)) * (way[k] + way[k + 2] / 2) : 0));
        const moved = there.map((value, k) => value + Math.max(follows, 1 / count) * way[k]);
        Object.assign(nearest, { at, kind, speed, box: moved, found: count, missed: 0, hidden: false });
      } else if (sure[at] > begins && this.things.filter(held).length < most) {
        this.things.push({ ...thing(++this.issued, at, this.boxes), box, kind });
      }
    }
    for (const one of left) {
      one.hidden = this.things.some((other) => !left.has(other) && this.distance(now(one), other.box) < near);
      if (frame || one.hidden) one.missed++;
      else one.speed = STILL;
    }
    this.things = this.things.filter(({ missed }) => missed <= returns);
  }

  /** The box of a thing between those of the places around `at`, weighted by their probabilities. */
  between(sure, at) {
    const { boxes, rules: { same: [, ratio], apart: none, goes_on } } = this, own = boxes[at];
    const alike = (box) => box[2] < ratio * own[2] && own[2] < ratio * box[2] && Math.max(...apart(box, own)) < none * Math.max(box[2], own[2]);
    const near = boxes.map((box, n) => ({ box, weight: sure[n] })).filter(({ box, weight }) => weight >= goes_on && alike(box));
    const mean = (of) => near.reduce((sum, { box, weight }) => sum + weight * of(box), 0) / near.reduce((sum, { weight }) => sum + weight, 0);
    const side = Math.exp(mean((box) => Math.log(box[2])));
    return [...[0, 1].map((axis) => mean((box) => box[axis] + box[2] / 2) - side / 2), side, side].map(rounded);
  }

  /** How far two boxes lie apart, by the longer of their lengths; infinite where these differ too much. */
  distance(a, b) {
    const longer = Math.max(a[2], b[2]), [x, y] = apart(a, b);
    return longer > this.rules.same[1] * Math.min(a[2], b[2]) ? Infinity : Math.hypot(x, y) / longer;
  }

  /** How many cells are lit of those that a place sees. */
  lit(x, at) {
    const [top, left] = this.corners[at], { pyramid: { width, height }, rules: { seen } } = this;
    let count = 0;
    for (let row = top; row < Math.min(top + seen, height); row++) {
      for (let column = left; column < Math.min(left + seen, width); column++) count += x[row * width + column] + x[(height + row) * width + column];
    }
    return count;
  }
}

/** From the middle of one box to that of the other, across and down. */
function apart(a, b) {
  return [0, 1].map((axis) => Math.abs(a[axis] + a[axis + 2] / 2 - b[axis] - b[axis + 2] / 2));
}

/** Which of {box, sure} show different things, the surest first. */
function distinct(found, { apart: none, beside, much, most }) {
  const kept = [];
  let left = [...found].sort((a, b) => b.sure - a.sure);
  while (left.length && kept.length < 2 * most) {
    const [best] = left;
    kept.push(best);
    left = left.filter((one) => {
      const away = Math.max(...apart(one.box, best.box)) / Math.max(one.box[2], best.box[2]);
      return away >= none && (away >= beside || one.sure > much * best.sure);
    });
  }
  return kept;
}

/** The read-out of one thing: each class's mean share over the last steps in which something came from there. */
class Spotted {
  constructor(labels, rules) {
    Object.assign(this, { labels, rules, steady: "", told: 0, shares: labels.map(() => 0) });
  }

  read({ logits, lit }) {
    const { labels, rules: { silent, newest, shown, settles } } = this;
    if (lit >= silent) {
      const now = softmax([...logits, 0]), weight = Math.max(newest, 1 / ++this.told);
      this.shares = this.shares.map((share, k) => share + weight * (now[k] - share));
    }
    const { shares, told } = this, known = shares.reduce((sum, share) => sum + share), index = shares.indexOf(Math.max(...shares));
    const least = shown[this.steady === labels[index] ? 1 : 0];
    const label = !told ? "nothing" : shares[index] >= least ? labels[index] : "unknown";
    this.steady = told >= settles || label !== labels[index] ? label : "unknown";
    return { probabilities: shares.map((share) => share / Math.max(known, 1e-9)), known, index, label, steady: this.steady, sure: (shares[index] / Math.max(known, 1e-9)) * known };
  }
}

export class Objects {
  /** facts: "view" of model.json. */
  constructor(labels, facts) {
    Object.assign(this, { labels, rules: facts.rules, finder: new Finder(facts, labels.length), spotted: new Map(), leading: 0 });
  }

  reset() {
    this.finder.reset();
    this.spotted.clear();
  }

  /** The answer after one step, with all `objects` that are found; its own label is that of the leading one. */
  read(x, logits) {
    const { labels, rules } = this, isClass = (label) => labels.includes(label);
    const read = this.finder.find(x, logits).map((one) => ({ one, of: this.spotted.get(one.id) ?? new Spotted(labels, rules) }));
    this.spotted = new Map(read.map(({ one, of }) => [one.id, of]));
    const things = read.map(({ one, of }) => ({ ...one, ...of.read(one) }));
    const shown = distinct(things.filter(({ id, steady }) => id && isClass(steady)), rules);
    const first = this.lead(shown), { probabilities, known, index, ...said } = first ?? least(things, (one) => -one.sure);
    const other = things[0].id ? "unknown" : "nothing", [label, steady] = [said.label, said.steady].map((one) => (first || !isClass(one) ? one : other));
    const objects = inReadingOrder(shown).map((one) => ({ id: one.id, box: one.box, label: one.steady, confidence: one.probabilities[one.index], known: one.known }));
    return { logits: said.logits, probabilities, known, index, label, steady, objects };
  }

  /** The surest thing, until another is clearly surer; undefined without any. */
  lead(shown) {
    const best = least(shown, (one) => -one.sure), held = shown.find(({ id }) => id === this.leading) ?? best;
    const first = best?.sure > held?.sure + this.rules.ahead ? best : held;
    this.leading = first?.id ?? this.leading;
    return first;
  }
}

/** Line by line, each from the left; a line holds what has its middle within the height of its topmost. */
function inReadingOrder(shown) {
  const ordered = [];
  let left = [...shown].sort((a, b) => a.box[1] - b.box[1]);
  while (left.length) {
    const [, top, , height] = left[0].box;
    const line = left.filter(({ box }) => box[1] + box[3] / 2 >= top && box[1] + box[3] / 2 <= top + height).sort((a, b) => a.box[0] - b.box[0]);
    ordered.push(...line);
    left = left.filter((one) => !line.includes(one));
  }
  return ordered;
}
