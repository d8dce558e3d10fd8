/** One bench in a process of its own, so that none finds what another left: it sends its rows. */
import { BENCHES } from "./benches.ts";

const rows = await BENCHES[process.argv[2]!]!.run();
process.send!(rows, () => process.exit(0));
