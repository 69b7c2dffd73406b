// Records what ECMA-262 says of patterns and texts: node patterns.js > patterns.json
// A pattern is tried with the flag u; one that u refuses is tried without.
const patterns = [
  "^a\\sb$", "^.$", "^.*$", "^\\d+$", "^\\w+$", "^\\W$", "^\\D$", "^\\S$", "^[\\s]$", "^[^\\s]$", "^[\\d\\-x]+$", "^[\\w.]+$", "^[\\w-.]+$", "^[\\W]$", "^[^\\W]$",
  "^$", "a$", "^a", "^a$|^b$", "(a|b)c", "^(?:ab)+$", "^(?<x>ab)?c$", "\\bab\\b", "\\Bb", "^[\\b]$", "^\\u0041$", "^\\u{1F600}$", "^\\uD83D\\uDE00$", "^[\\u{1F600}-\\u{1F64F}]$",
  "^\\x41\\x7e$", "^\\cA$", "^\\cj$", "^\\0$", "^\\t\\n\\v\\f\\r$", "^[]$", "^[^]$", "^[a-c-e]+$", "^[-a]+$", "^[a-]+$", "^[\\]\\\\^]+$", "^[^a-z]+$", "^a{2}$", "^a{2,}$", "^a{1,3}$", "^a{0}b$",
  "^a*?b+?$", "^a{2,3}?$", "^[a-z]{0,2000}$", "^(ab){0,1500}$", "^a{1001}$", "^a{1001,}$", "^(a{40}){30}$", "^(ab{1,3}){2,500}$", "^\\p{L}+$", "^\\p{Letter}\\P{Lu}$", "^[\\p{Nd}_]+$", "^\\p{Script=Greek}+$",
  "^\\p{gc=Sc}$", "^\\p{ASCII}+$", "^\\P{ASCII}+$", "^\\p{digit}+$", "^\\/\\.\\*\\$$", "^a\\-b$", "^a\\@b$", "^\\é$", "^a{$", "^a{,5}$", "^a}$", "^a]$", "^{a}$", "x{1}y", "^é$", "^[é-ü]$", "^(|a)b$", "^(a|)$", "()", "^\\$\\{", "a||b",
  // refused by ECMA-262
  "a{2,1}", "[b-a]", "(", ")", "[", "\\", "*", "+a", "a**", "a{1}{2}", "^*", "(?i)a", "(?P<x>a)", "\\Aa", "a\\z", "\\Qa\\E", "\\pL", "\\u{110000}", "\\p{Nope}", "(?<x", "\\_\\a", "\\u12", "\\x1", "\\c1", "(?<1a>b)",
  // of ECMA-262, and not matched in linear time
  "^(?=a)a", "^(?!a)b", "(?<=a)b", "(?<!a)b", "(a)\\1", "(?<x>a)\\k<x>",
];
const texts = [
  "", "a", "b", "ab", "abc", "ba", "aa", "aaa", "aaaa", "c", "e", "-", "a-b", "a@b", "a{", "a{,5}", "a}", "a]", "{a}", "xy", "x.y", "0", "12-x", "٣", "a b", "a\u00a0b", "a\ufeffb", "a\u2028b", "a\u180eb", "a\u3000b", "a\u0085b",
  " ", "\u00a0", "\ufeff", "\u2028", "\u2029", "\u0085", "\n", "\r", "\t", "\v", "\f", "\b", "\u0000", "\u0001", "\t\n\v\f\r", "a\n", "\na", "a\nb", "A", "A~", "é", "ü", "ß", "日本", "αβγ", "€", "$", "_", "_1", "😀", "👍", "e\u0301", "\\^]", "/.*$", "${x",
  "a".repeat(30), "a".repeat(1000), "a".repeat(1001), "a".repeat(1200), "a".repeat(2000), "a".repeat(2001), "ab".repeat(1500), "ab".repeat(1501), "x", "ac", "bc", "\\", "digit",
];
const rows = patterns.map(pattern => {
  let re = null, refused;
  for (const flags of ["u", ""]) {
    try { re = new RegExp(pattern, flags); break; } catch (e) { refused ??= String(e.message).replace(/^.*: /, ""); }
  }
  return { pattern, u: refused === undefined, refused, matches: re === null ? null : texts.flatMap((t, i) => re.test(t) ? [i] : []) };
});
console.log(JSON.stringify({ of: "Node.js " + process.version, texts }).slice(0, -1) + ',"patterns":[\n' + rows.map(r => JSON.stringify(r)).join(",\n") + "]}");
