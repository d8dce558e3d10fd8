#!/usr/bin/env node
/**
 * The command. Source maps are asked for before anything else is loaded, so that the stories that
 * `explore` tells name lines of the source; other commands do without, and start sooner.
 */
if (process.argv[2] === "explore") process.setSourceMapsEnabled(true);
await import("./command-line.ts");
