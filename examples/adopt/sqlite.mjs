/**
 * SQLite, as npm has it, fills a table; a WGSL kernel then reads SQLite's own B-tree where it
 * lies, page by page through SQLite's page numbers, and finds what SQL finds. Nothing is copied
 * out of the database, and SQLite is not rebuilt: its memory is the machine's.
 *
 *   node examples/adopt/sqlite.mjs [rows] [host|scoped]
 */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import initSqlite from "@sqlite.org/sqlite-wasm";
import { Machine, ptr, u32 } from "onespace";
import { insideModule, printTable } from "./inside-module.mjs";

const ROWS = Number(process.argv[2] ?? 200_000);
const REGION = 7;
/** Rows that one invocation looks up. */
const ROWS_EACH = 256;

/** The B-tree as https://sqlite.org/fileformat2.html describes it: all numbers big-endian. */
const CODE = /* wgsl */ `
fn byte(at: u32) -> u32 { return (load_u32(at & ~3u) >> (8u * (at & 3u))) & 255u; }
fn be16(at: u32) -> u32 { return (byte(at) << 8u) | byte(at + 1u); }
fn be32(at: u32) -> u32 { return (be16(at) << 16u) | be16(at + 2u); }
fn page(number: u32) -> u32 { return args.db + (number - 1u) * args.page_size; }

/** A varint's low 32 bits, and how many bytes it takes. */
fn varint(at: u32) -> vec2u {
  var value = 0u;
  for (var n = 0u; n < 9u; n++) {
    let b = byte(at + n);
    value = (value << 7u) | (b & 127u);
    if (b < 128u) { return vec2u(value, n + 1u); }
  }
  return vec2u(value, 9u);
}

/** From the root down to the leaf that would hold the row. */
fn leaf_of(rowid: u32) -> u32 {
  var at = page(args.root);
  while (byte(at) == 5u) {
    var low = 0u;
    var high = be16(at + 3u);
    while (low < high) {
      let middle = (low + high) / 2u;
      let cell = at + be16(at + 12u + 2u * middle);
      if (varint(cell + 4u).x >= rowid) { high = middle; } else { low = middle + 1u; }
    }
    let is_last = low == be16(at + 3u);
    if (is_last) { at = page(be32(at + 8u)); }
    else { at = page(be32(at + be16(at + 12u + 2u * low))); }
  }
  return at;
}

fn bytes_of(serial: u32) -> u32 {
  if (serial <= 4u) { return serial; }
  if (serial == 5u) { return 6u; }
  if (serial <= 7u) { return 8u; }
  return select((serial - 12u) / 2u, 0u, serial < 12u);
}

/** Column 1, 2 or 3 of a record: small whole numbers. Column 0 is the row's number. */
fn column(record: u32, wanted: u32) -> u32 {
  let head = varint(record);
  var type_at = record + head.y;
  var value_at = record + head.x;
  for (var k = 0u; k < wanted; k++) {
    let serial = varint(type_at);
    type_at += serial.y;
    value_at += bytes_of(serial.x);
  }
  let serial = varint(type_at).x;
  if (serial >= 8u) { return serial - 8u; }
  var value = 0u;
  for (var k = 0u; k < bytes_of(serial); k++) { value = (value << 8u) | byte(value_at + k); }
  return value;
}

fn main(i: u32) {
  let last = min((i + 1u) * args.rows_each, args.rows);
  var next = i * args.rows_each + 1u;
  var count = 0u;
  var sum = 0u;
  while (next <= last) {
    let at = leaf_of(next);
    let cells = be16(at + 3u);
    for (var k = 0u; k < cells; k++) {
      let cell = at + be16(at + 8u + 2u * k);
      let payload = varint(cell);
      let rowid = varint(cell + payload.y);
      if (rowid.x < next || rowid.x > last) { continue; }
      next = rowid.x + 1u;
      let record = cell + payload.y + rowid.y;
      if (column(record, 1u) != args.region) { continue; }
      count += 1u;
      sum += column(record, 2u) * column(record, 3u);
    }
  }
  store_u32(args.out + 8u * i, count);
  store_u32(args.out + 8u * i + 4u, sum);
}`;

const FILL = `
CREATE TABLE sales(id INTEGER PRIMARY KEY, region INTEGER, quantity INTEGER, price INTEGER, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${ROWS})
INSERT INTO sales
SELECT i, (i * 7919) % 16, (i * 31) % 50, (i * i) % 1000, 'note number ' || i FROM n;`;
const QUESTION = `SELECT count(*), sum(quantity * price) FROM sales WHERE region = ${REGION}`;

const machine = await Machine.create({ cpu: process.argv[3] ?? "auto" });
const { space } = machine;
const file = createRequire(import.meta.url).resolve("@sqlite.org/sqlite-wasm/sqlite3.wasm");
const adoption = await space.adopt({ wasm: readFileSync(file) });
const before = adoption.range.bytes;

const sqlite3 = await insideModule(machine, adoption, () =>
  initSqlite({ wasmMemory: adoption.memory, instantiateWasm: adoption.instantiateWasm }),
);
const db = await insideModule(machine, adoption, () => {
  // One piece of memory, as a file would be: the name must not begin with a slash.
  const made = new sqlite3.oo1.DB("file:sales?vfs=memdb", "c");
  made.exec(FILL);
  return made;
});

/** Where the database lies, without a copy of it: sqlite3_serialize with NOCOPY. */
function placeOf() {
  const { capi, wasm } = sqlite3;
  const size = wasm.alloc(8);
  const at = capi.sqlite3_serialize(db.pointer, "main", size, capi.SQLITE_SERIALIZE_NOCOPY);
  const bytes = Number(wasm.peek(size, "i64"));
  wasm.dealloc(size);
  if (at === 0) throw new Error("SQLite keeps this database in more than one piece");
  return { at, bytes };
}

const scan = machine.kernel({
  args: {
    db: u32,
    page_size: u32,
    root: u32,
    rows: u32,
    rows_each: u32,
    region: u32,
    out: ptr(u32),
  },
  code: CODE,
});
const invocations = Math.ceil(ROWS / ROWS_EACH);
const out = space.array(u32, 2 * invocations);

async function askBoth() {
  const asked = await insideModule(machine, adoption, () => {
    const start = performance.now();
    const [count, sum] = db.selectArray(QUESTION).map(Number);
    return {
      ms: performance.now() - start,
      count,
      sum,
      place: placeOf(),
      page_size: db.selectValue("PRAGMA page_size"),
      root: db.selectValue("SELECT rootpage FROM sqlite_schema WHERE name = 'sales'"),
    };
  });
  const { place, page_size, root } = asked;
  const start = performance.now();
  const report = await scan.run(invocations, {
    db: place.at,
    page_size,
    root,
    rows: ROWS,
    rows_each: ROWS_EACH,
    region: REGION,
    out,
  });
  const ms = performance.now() - start;
  const result = await space.access(out, "read");
  let count = 0;
  let sum = 0;
  for (let i = 0; i < invocations; i++) {
    count += result.u32[2 * i];
    sum += result.u32[2 * i + 1];
  }
  result.close();
  if (count !== asked.count || sum !== asked.sum) {
    throw new Error(`SQL: ${asked.count} rows, ${asked.sum}; kernel: ${count} rows, ${sum}`);
  }
  return { ...asked, kernelMs: ms, report };
}

const first = await askBoth();
await insideModule(machine, adoption, () =>
  db.exec("UPDATE sales SET price = price + 1 WHERE id BETWEEN 5000 AND 6000"),
);
const second = await askBoth();

printTable([
  ["CPU backend; device", `${machine.report.cpu.backend}; ${machine.report.device.adapter}`],
  ["rows", ROWS],
  ["database, bytes at address", `${first.place.bytes} at 0x${first.place.at.toString(16)}`],
  ["SQLite's memory, at first and now", `${before} -> ${adoption.range.bytes}`],
  ["rows of the region; sum, by SQL and by the kernel", `${first.count}; ${first.sum}`],
  ["the same after SQLite's UPDATE", `${second.count}; ${second.sum}`],
  ["SQL, ms", first.ms.toFixed(1)],
  [
    "kernel, ms: first run (compiles), second run",
    `${first.kernelMs.toFixed(1)}, ${second.kernelMs.toFixed(1)}`,
  ],
  [
    "bytes that went to the device",
    `${first.report.bytesToDevice}, ${second.report.bytesToDevice}`,
  ],
]);
await insideModule(machine, adoption, () => db.close());
await machine.close();
