/**
 * Who may import whom. The order of `LAYERS` is the order of the house, bottom to top.
 * `test/style/architecture.test.ts` plants a violation of every rule and checks that it is seen.
 */
const LAYERS = [
  "base",
  "trace",
  "sync",
  "phys",
  "dma",
  "notifier",
  "mm",
  "check",
  "hmm",
  "devmem",
  "device",
  "cpu",
  "driver",
  "machine",
  "explore",
  "races",
  "museum",
  "conformance",
  "demo",
  "cli",
];
const CORE = LAYERS.slice(0, LAYERS.indexOf("cpu"));
/** Rooms whose sub-rooms are alternatives of each other. */
const ROOMS_OF_SIBLINGS = ["cpu", "driver"];
/** What a user of the package can import, and the rooms that only its command line needs. */
const PACKAGE_DOORS = ["machine/index", "driver-api", "engine", "explore/index"];
const SHOWS = ["races", "museum", "conformance", "demo", "cli"];
/** The only rooms that know they run on Node. */
const NODE_ROOMS = [
  "cpu/host",
  "driver/webgpu",
  "machine/host",
  "machine/lang",
  "machine/store",
  "conformance",
  "demo",
  "cli",
];

const TESTS = "[.]test[.]ts$";
const DOOR = "/index[.]ts$";
const oneOf = (names) => `(${names.join("|")})`;

const layers = LAYERS.slice(0, -1).map((layer, i) => ({
  name: `${layer}-knows-nothing-above`,
  comment: `Only layers above ${layer} may know ${oneOf(LAYERS.slice(i + 1))}.`,
  severity: "error",
  from: { path: `^src/${layer}/` },
  to: { path: `^src/${oneOf(LAYERS.slice(i + 1))}/` },
}));

const siblings = ROOMS_OF_SIBLINGS.map((room) => ({
  name: `${room}-siblings-are-strangers`,
  comment: `The rooms in ${room}/ are alternatives: what two of them need lies below them.`,
  severity: "error",
  from: { path: `^src/${room}/([^/]+)/` },
  to: { path: `^src/${room}/[^/]+/`, pathNot: `^src/${room}/$1/` },
}));

const doors = [
  {
    name: "enter-by-the-door",
    comment: "Another folder is entered by its index.ts only.",
    severity: "error",
    from: { path: "^src/([^/]+)/" },
    to: { path: "^src/[^/]+/", pathNot: ["^src/$1/", DOOR] },
  },
  {
    name: "enter-by-the-door-from-outside",
    comment: "A file of no folder (the package's own doors) enters folders by index.ts only.",
    severity: "error",
    from: { path: "^src/[^/]+$", pathNot: TESTS },
    to: { path: "^src/[^/]+/", pathNot: DOOR },
  },
  {
    name: "enter-a-sub-room-by-its-door",
    comment: "A room's own files enter its sub-rooms by index.ts only.",
    severity: "error",
    from: { path: "^src/([^/]+)/[^/]+$" },
    to: { path: "^src/$1/[^/]+/", pathNot: DOOR },
  },
  {
    name: "no-door-leads-to-shows",
    comment:
      "Nothing that a user imports needs what shows, tests or teaches; the command line does.",
    severity: "error",
    from: { path: `^src/(${PACKAGE_DOORS.join("|")})[.]ts$` },
    to: { path: `^src/${oneOf(SHOWS)}/`, reachable: true },
  },
  {
    name: "nobody-inside-uses-the-front-door",
    comment:
      "src/*.ts are doors for users of the package; code inside imports the folder it needs.",
    severity: "error",
    from: { path: "^src/[^/]+/" },
    to: { path: "^src/[^/]+$" },
  },
];

const packages = [
  {
    name: "core-is-portable",
    comment: "The core runs anywhere: nothing from Node, nothing from npm.",
    severity: "error",
    from: { path: `^src/${oneOf(CORE)}/`, pathNot: TESTS },
    to: {
      dependencyTypes: ["core", "npm", "npm-dev", "npm-optional", "npm-peer", "npm-no-pkg"],
    },
  },
  {
    name: "node-is-known-in-few-rooms",
    comment: `Only ${NODE_ROOMS.join(", ")} (and tests) may import node:*.`,
    severity: "error",
    from: { path: "^src/", pathNot: [`^src/${oneOf(NODE_ROOMS)}/`, TESTS] },
    to: { dependencyTypes: ["core"] },
  },
  {
    name: "ship-what-you-import",
    comment: "What a user gets must not need our development dependencies.",
    severity: "error",
    from: { path: "^src/", pathNot: TESTS },
    to: { dependencyTypes: ["npm-dev", "npm-no-pkg"], dependencyTypesNot: ["npm-peer", "npm"] },
  },
  {
    name: "no-unresolvable",
    comment: "An import that leads nowhere escapes every other rule.",
    severity: "error",
    from: { path: "^src/" },
    to: { couldNotResolve: true },
  },
];

const whole = [
  {
    name: "no-cycles",
    comment: "Inside a room two files may know each other's types, never need each other to load.",
    severity: "error",
    from: {},
    to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
  },
  {
    name: "src-stands-alone",
    comment: "Nothing in src imports tests, benchmarks or examples; its tests may use test/replay.",
    severity: "error",
    from: { path: "^src/", pathNot: TESTS },
    to: { path: "^(test|bench|examples|scripts)/" },
  },
  {
    name: "tests-in-src-stand-alone",
    comment: "A test beside its file takes nothing from outside but how to be replayed.",
    severity: "error",
    from: { path: `^src/.*${TESTS}` },
    to: { path: "^(test|bench|examples|scripts)/", pathNot: "^test/replay/" },
  },
  {
    name: "tests-are-leaves",
    comment: "Nobody imports a test; a test imports what it tests.",
    severity: "error",
    from: { path: "^src/" },
    to: { path: TESTS },
  },
];

module.exports = {
  forbidden: [...layers, ...siblings, ...doors, ...packages, ...whole],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: { exportsFields: ["exports"], conditionNames: ["import", "node"] },
  },
};
