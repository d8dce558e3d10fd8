/**
 * What is not in the subset is refused: where it is, what it is, the rule, and what to write
 * instead. Thrown as a `Refusal` while a kernel is looked at; at the face it becomes an `HmmError`.
 */
import type { Node } from "acorn";
import type { SourceFunction } from "./source.ts";

const TEXT_MAX = 60;

export class Refusal extends Error {
  readonly source: SourceFunction;
  /** Offset in the function's own text. */
  readonly offset: number;

  constructor(source: SourceFunction, node: Pick<Node, "start" | "end">, rule: string) {
    super(`\`${shown(source, node)}\`: ${rule}`);
    this.source = source;
    this.offset = node.start - source.shift;
  }
}

/** The construct on one line. */
function shown(source: SourceFunction, { start, end }: Pick<Node, "start" | "end">): string {
  const text = source.parsed.slice(start, end).replace(/\s+/g, " ");
  return text.length > TEXT_MAX ? `${text.slice(0, TEXT_MAX)}…` : text;
}
