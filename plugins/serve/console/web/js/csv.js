// CSV that says what is on the page, and that no spreadsheet takes for a formula.
const plainNumber = /^-?\d+(\.\d+)?(e[+-]?\d+)?$/i;

// cell quotes a value; text that a spreadsheet would calculate begins with an apostrophe.
export function cell(value) {
  if (value === null || value === undefined) return "";
  let text = typeof value === "object" ? JSON.stringify(value) : String(value);
  if (/^[\s]*[=+\-@|%]|^[\t\r\n]/.test(text) && !plainNumber.test(text)) text = `'${text}`;
  return /[",;\r\n\t]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

// csv makes a table of rows of values.
export const csv = (names, rows) => [names, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";

// save gives a file to whoever looks.
export function save(name, text, type = "text/csv;charset=utf-8") {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const a = document.createElement("a");
  a.href = url;
  a.download = name.replace(/[^\w.-]+/g, "_");
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
