/** placeholder until the commands land in this commit series */
import { defineCommand } from "citty";
export const root = defineCommand({ meta: { name: "onespace" }, subCommands: {} });
