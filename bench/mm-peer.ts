/**
 * Peers of the memory system: small C programs, compiled when a bench begins, each a process that
 * waits until it is asked for a round. Ours and a peer take rounds in turns; a ratio a round.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { median, type Row } from "./ratio.ts";

const ROUNDS = 9;
/** Until the compiler has made up its mind. */
const WARM_UPS = 10;
/** A round is at least this long. */
const ROUND_MS = 20;

// Compiled, this file is .cache/bench/bench/mm-peer.js.
const ROOT = new URL("../../../", import.meta.url);
const SOURCES = new URL("bench/native/", ROOT);
const PROGRAMS = new URL(".cache/native/", ROOT);

/** What one call measured, without its preparation. */
export interface Sample {
  readonly ns: number;
  readonly units: number;
}

export interface Subject {
  readonly name: string;
  /** What a figure is for: "page". */
  readonly unit: string;
  readonly measure: () => Sample;
}

export interface Peer {
  readonly versus: string;
  /** What it says about its set-up, where that must match ours. */
  readonly ready?: string;
  /** A program of bench/native and its arguments, or another way to do the same here. */
  readonly by: readonly [program: string, ...args: (string | number)[]] | (() => Sample);
}

/** Compiles all peers; false when there is no C compiler. */
export function buildPeers(): boolean {
  if (spawnSync("cc", ["--version"]).status !== 0) return false;
  mkdirSync(PROGRAMS, { recursive: true });
  for (const program of ["walk", "kernel", "move", "interval", "fault"])
    compile(program, program, ["-O2"]);
  compile("walk", "walk-wide", ["-O3", "-march=native"]);
  return true;
}

function compile(source: string, program: string, flags: readonly string[]): void {
  const paths = ["-o", pathOf(PROGRAMS, program), pathOf(SOURCES, `${source}.c`)];
  const { status, stderr } = spawnSync("cc", [...flags, ...paths, "-pthread"]);
  if (status !== 0) throw new Error(`cc ${source}.c failed:\n${stderr}`);
}

const pathOf = (folder: URL, name: string): string => fileURLToPath(new URL(name, folder));

/** One row a peer; without a compiler only the figures of ours, as lines. */
export async function compare(
  hasPeers: boolean,
  subject: Subject,
  peers: readonly Peer[],
): Promise<Row[]> {
  for (let round = 0; round < WARM_UPS; round++) roundOf(subject.measure);
  if (!hasPeers) {
    sayAbsolute(subject);
    return [];
  }
  const rows: Row[] = [];
  for (const peer of peers) rows.push(await pair(subject, peer));
  return rows;
}

function sayAbsolute(subject: Subject): void {
  const figures = Array.from({ length: ROUNDS }, () => roundOf(subject.measure));
  console.log(`${subject.name}: ${shown(median(figures))} ns a ${subject.unit} (no C compiler)`);
}

async function pair(subject: Subject, peer: Peer): Promise<Row> {
  using runner = await startPeer(peer);
  await runner.round();
  roundOf(subject.measure);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    theirs.push(await runner.round());
    ours.push(roundOf(subject.measure));
  }
  return {
    name: subject.name,
    versus: peer.versus,
    ratios: ours.map((ns, round) => ns / theirs[round]!),
    note: `${shown(median(ours))} ns against ${shown(median(theirs))} ns a ${subject.unit}`,
  };
}

const shown = (ns: number): string => (ns < 100 ? ns.toPrecision(3) : ns.toFixed(0));

/** Nanoseconds per unit. */
function roundOf(measure: () => Sample): number {
  let ns = 0;
  let units = 0;
  while (ns < ROUND_MS * 1e6) {
    const sample = measure();
    ns += sample.ns;
    units += sample.units;
  }
  return ns / units;
}

/** Who takes rounds: gives nanoseconds per unit. */
export interface Runner {
  round(): Promise<number>;
  [Symbol.dispose](): void;
}

export async function startPeer(peer: Peer): Promise<Runner> {
  if (typeof peer.by === "function") {
    const measure = peer.by;
    return { round: async () => roundOf(measure), [Symbol.dispose]: () => {} };
  }
  const [program, ...args] = peer.by;
  const native = new NativeRunner(program, args.map(String));
  const ready = await native.line();
  if (peer.ready !== undefined && ready !== peer.ready) {
    throw new Error(`${program} set up "${ready}", ours is "${peer.ready}"`);
  }
  return native;
}

class NativeRunner implements Runner {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor(program: string, args: readonly string[]) {
    const stdio = ["pipe", "pipe", "inherit"] as const;
    const child = spawn(pathOf(PROGRAMS, program), args, { stdio: [...stdio] });
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done) throw new Error(`${this.#child.spawnfile} ended: see above`);
    return next.value;
  }

  async round(): Promise<number> {
    this.#child.stdin!.write("round\n");
    const ns = Number(await this.line());
    if (!(ns > 0)) throw new Error(`${this.#child.spawnfile} measured ${ns} ns`);
    return ns;
  }

  [Symbol.dispose](): void {
    this.#child.stdin!.end();
  }
}
