/**
 * Writes docs/museum.md: visits every exhibit of the museum and lets it make the page. Ends with
 * an assertion, and writes nothing, when an exhibit is not as it says.
 */
import { writeFileSync } from "node:fs";
import { cataloguePage, MUSEUM, visit } from "../dist/museum/index.js";

const page = cataloguePage(MUSEUM.map(visit));
writeFileSync(new URL("../docs/museum.md", import.meta.url), page);
console.log(`docs/museum.md: ${MUSEUM.length} exhibits, ${page.split("\n").length - 1} lines`);
