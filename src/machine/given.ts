/** What callers give: how messages show it, and records of options, where nothing is ignored. */
import { formatAddress } from "../base/index.ts";
import { invalid } from "./error.ts";

const TEXT_MAX = 60;
const PARTS_MAX = 6;

/** A value as its reader would write it: a string in quotes, an object by what it has. */
export function show(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value.length > TEXT_MAX ? `${value.slice(0, TEXT_MAX)}…` : value);
    case "bigint":
      return `${value}n`;
    case "function":
      return value.name === "" ? "a function" : `the function ${value.name}`;
    case "object":
      return value === null ? "null" : showObject(value);
    default:
      return String(value);
  }
}

/** An address, as it was given when it is none. */
export const showAddress = (given: unknown): string =>
  typeof given === "number" && Number.isInteger(given) && given >= 0
    ? formatAddress(given)
    : show(given);

function showObject(value: object): string {
  try {
    if (Array.isArray(value)) return `[${listed(value, show)}]`;
    const address = addressOf(value);
    if (address !== undefined) return `a view at ${formatAddress(address)}`;
    const { name = "" } = (value.constructor as { name?: string } | undefined) ?? {};
    if (name !== "" && name !== "Object") return `${/^[AEIOU]/.test(name) ? "an" : "a"} ${name}`;
    const keys = Object.keys(value);
    return keys.length === 0 ? "{}" : `{ ${listed(keys, String)} }`;
  } catch {
    // A revoked proxy, a getter that throws: the message is about something else.
    return "an object";
  }
}

function listed<Part>(parts: readonly Part[], text: (part: Part) => string): string {
  const first = Array.from(parts.slice(0, PARTS_MAX), text);
  if (parts.length > PARTS_MAX) first.push("…");
  return first.join(", ");
}

/** Of a view, or of anything that says where it lies. */
export function addressOf(value: unknown): number | undefined {
  if (typeof value !== "object" || value === null || !("address" in value)) return undefined;
  const { address } = value;
  return typeof address === "number" && Number.isInteger(address) && address >= 0
    ? address
    : undefined;
}

/** Throws EINVAL for what is no record, and for what is in it that nobody would look at. */
export function checkOptions(call: string, given: unknown, known: readonly string[]): void {
  if (typeof given !== "object" || given === null) {
    throw invalid(call, `options must be an object, got ${show(given)}`);
  }
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    throw invalid(call, `unknown option ${name} (known: ${known.join(", ")})`);
  }
}
