/**
 * What the model says about an answer before it sees it, and whether an answer agrees. A claim
 * may leave things open: several codes, several letters for a page, no word about a field.
 */
import type { Guess } from "./guess.ts";

export type Answer = Readonly<Record<string, unknown>>;

export interface Claim {
  /** The codes that `r` may be. */
  readonly codes: readonly string[];
  /** `v`: what was read, a word a page. */
  readonly words?: readonly Guess[];
  /** `cp`: how many pages. */
  readonly pages?: number;
  /** `m`: the letters that each page may show. */
  readonly letters?: readonly string[];
  /** `s`: the bytes that each page may show. */
  readonly bytes?: readonly ReadonlySet<number>[];
  /** Takes the answer where the model must know it to go on. */
  readonly learn?: (answer: Answer) => void;
}

/** How many things were claimed: each is a comparison that could have failed. */
export class ClaimCount {
  /** Codes of which the model knew the only one. */
  codes = 0;
  words = 0;
  pages = 0;
  letters = 0;
  bytes = 0;
  /** Answers of which the model left the code or a word open. */
  open = 0;

  add(claim: Claim, answer: Answer): void {
    if (claim.codes.length === 1) this.codes++;
    else this.open++;
    if (answer.r !== "OK") return;
    for (const word of claim.words ?? []) word.isCertain ? this.words++ : this.open++;
    if (claim.pages !== undefined) this.pages++;
    this.letters += claim.letters?.length ?? 0;
    this.bytes += claim.bytes?.length ?? 0;
  }
}

export const claimCode = (...codes: readonly string[]): Claim => ({ codes });

/** What is wrong with `answer`, in words; undefined when it is what was claimed, or left open. */
export function disagreement(claim: Claim, answer: Answer): string | undefined {
  const code = String(answer.r);
  if (!claim.codes.includes(code)) return `r is ${code}, not ${claim.codes.join(" or ")}`;
  if (code !== "OK") return undefined;
  if (claim.pages !== undefined && Number(answer.cp) !== claim.pages) {
    return `cp is ${answer.cp}, not ${claim.pages}`;
  }
  return wrongWord(claim, answer) ?? wrongLetter(claim, answer) ?? wrongByte(claim, answer);
}

/** The model hears the answer: words that it left open are known now. */
export function learn(claim: Claim, answer: Answer): void {
  if (answer.r === "OK" && claim.words !== undefined) {
    const values = wordsOf(answer);
    for (const [i, word] of claim.words.entries()) {
      const value = values[i];
      if (value !== undefined) word.settle(value);
    }
  }
  claim.learn?.(answer);
}

function wrongWord({ words }: Claim, answer: Answer): string | undefined {
  if (words === undefined) return undefined;
  const values = wordsOf(answer);
  if (values.length !== words.length) return `v has ${values.length} words, not ${words.length}`;
  for (const [i, word] of words.entries()) {
    const value = values[i]!;
    if (!word.allows(value)) return `v[${i}] is ${value.toString(16)}, not ${word}`;
  }
  return undefined;
}

function wrongLetter({ letters }: Claim, answer: Answer): string | undefined {
  if (letters === undefined) return undefined;
  const map = String(answer.m);
  if (map.length !== letters.length) return `m has ${map.length} letters, not ${letters.length}`;
  for (const [i, allowed] of letters.entries()) {
    if (!allowed.includes(map[i]!)) return `m[${i}] is ${map[i]}, not one of ${allowed}`;
  }
  return undefined;
}

function wrongByte({ bytes }: Claim, answer: Answer): string | undefined {
  if (bytes === undefined) return undefined;
  const values = Buffer.from(String(answer.s), "hex");
  if (values.length !== bytes.length) return `s has ${values.length} bytes, not ${bytes.length}`;
  for (const [i, allowed] of bytes.entries()) {
    const value = values[i]!;
    if (!allowed.has(value)) {
      const list = [...allowed].map((each) => each.toString(16).padStart(2, "0"));
      return `s[${i}] is ${value.toString(16).padStart(2, "0")}, not one of ${list.join(" ")}`;
    }
  }
  return undefined;
}

const wordsOf = ({ v }: Answer): bigint[] =>
  (Array.isArray(v) ? v : [v]).map((word) => BigInt(`0x${word}`));
