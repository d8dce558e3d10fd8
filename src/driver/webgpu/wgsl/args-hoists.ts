/**
 * A software adapter checks the bounds of each word of a uniform buffer that it reads: in a loop
 * of few loads that was a sixth of the time. So a function that reads arguments and has a loop
 * gets a copy of them, by the same name, where it begins.
 */
import { closing, type Insert, openingBrace } from "./source-text.ts";

const COPY = " let args = args;";

/** Something else of that name, or a pointer to the arguments. */
const OTHER = /\b(?:let|const|var(?:\s*<[^>]*>)?)\s+args\b|\bargs\s*:|&[\s(]*args\b/;

/** What to insert into text without comments. */
export function argsHoists(code: string): Insert[] {
  const hoists: Insert[] = [];
  for (const { index } of code.matchAll(/\bfn\b/g)) {
    const brace = openingBrace(code, index);
    if (brace < 0) continue;
    const body = code.slice(brace, closing(code, brace, "{", "}"));
    const isHere = /(?<!\.\s*)\bargs\s*\./.test(body) && /\b(?:for|while|loop)\b/.test(body);
    if (isHere && !OTHER.test(code.slice(index, brace) + body)) {
      hoists.push({ at: brace + 1, text: COPY });
    }
  }
  return hoists;
}
