/** The model is right: it agrees with everything that Linux answered in the recorded traces. */
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { listTraces, readTrace, type Trace } from "../../src/conformance/trace-file.ts";
import { ClaimCount, disagreement, learn } from "./claim.ts";
import { Model } from "./model.ts";

const FOLDER = fileURLToPath(new URL("../conformance/traces/", import.meta.url));

/** What the model alone says about a trace, against what Linux said. */
function judge(trace: Trace, count: ClaimCount): string[] {
  const model = new Model();
  for (const { actor, op, args, res, line } of trace.ops) {
    const claim = model.run(actor, op, args);
    count.add(claim, res);
    const wrong = disagreement(claim, res);
    if (wrong !== undefined) {
      return [`${trace.name}:${line}: ${actor} ${op} ${args.join(" ")}: ${wrong}`];
    }
    learn(claim, res);
  }
  return [];
}

describe("the model", () => {
  const traces = listTraces(FOLDER).map(readTrace);

  it("says nothing that Linux did not do", () => {
    const count = new ClaimCount();
    const wrong = traces.flatMap((trace) => judge(trace, count));
    expect(wrong).toEqual([]);
    expect(traces.length).toBe(510);
    // so that the model cannot fall silent; `open` is what it leaves to the recorded traces
    expect({ ...count }).toEqual({
      codes: 108_449,
      words: 262_882,
      pages: 29_055,
      letters: 12_803,
      bytes: 713_025,
      open: 8_586,
    });
  });
});
