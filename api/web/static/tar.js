// Packs the files of a folder that was chosen as one tar file (POSIX.1-1988 ustar), without reading them into memory.

const BLOCK = 512;
const MOST_NAME = 100; // bytes; a longer path is cut at a slash, of which up to 155 bytes stand apart
const MOST_PREFIX = 155;
const encoder = new TextEncoder();

/** The archive as a Blob; files whose names begin with a dot are what systems hide, and left out. */
export function packed(files) {
  const parts = [];
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    if (path.split("/").some((part) => part.startsWith("."))) continue;
    parts.push(header(path, file.size), file, new Uint8Array(-file.size & (BLOCK - 1)));
  }
  if (!parts.length) throw new Error("That folder has no files");
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: "application/x-tar" });
}

function header(path, size) {
  const block = new Uint8Array(BLOCK);
  const put = (text, at) => block.set(typeof text === "string" ? encoder.encode(text) : text, at);
  const [prefix, name] = cut(path);
  put(name, 0);
  put("0000644\0" + "0000000\0".repeat(2) + size.toString(8).padStart(11, "0") + "\0" + "0".repeat(11) + "\0", 100);
  put(" ".repeat(8), 148); // as the checksum counts its own place
  put("0", 156);
  put("ustar\0" + "00", 257);
  put(prefix, 345);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return block;
}

/** [prefix, name] of a path, each within its bytes. */
function cut(path) {
  if (encoder.encode(path).length <= MOST_NAME) return [encoder.encode(""), encoder.encode(path)];
  for (let at = path.indexOf("/"); at > 0; at = path.indexOf("/", at + 1)) {
    const [prefix, name] = [encoder.encode(path.slice(0, at)), encoder.encode(path.slice(at + 1))];
    if (prefix.length <= MOST_PREFIX && name.length <= MOST_NAME) return [prefix, name];
  }
  throw new Error(`The path ${path.slice(0, 60)}… is too long for a tar file; pack the folder as zip and upload that`);
}
