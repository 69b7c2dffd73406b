#!/usr/bin/env bash
# Compiles the peers of weir's rules and runs one of them, which prints a line of JSON. usage: run.sh Flink|Streams
# RULE EVENTS. Needs a JDK 17 and Maven. The libraries come from Maven Central in the versions of pom.xml and must
# have the checksums of checksums.txt.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../../../.." && pwd)/.cache/peer-rules
command -v javac >/dev/null || { echo "the peers of rules need a JDK 17: install one (openjdk-17-jdk)" >&2; exit 1; }
command -v mvn >/dev/null || { echo "the peers of rules need Maven: install it (maven)" >&2; exit 1; }
mkdir -p "$cache"
if ! cmp -s "$here/pom.xml" "$cache/pom.xml"; then
  rm -rf "$cache/lib"
  mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$cache/lib" >&2
  (cd "$cache/lib" && sha256sum --quiet --strict -c "$here/checksums.txt" >&2)
  [ "$(ls "$cache/lib" | wc -l)" = "$(wc -l <"$here/checksums.txt")" ] || { echo "there are libraries without a sum" >&2; exit 1; }
  cp "$here/pom.xml" "$cache/pom.xml"
fi
rm -rf "$cache/classes" && mkdir -p "$cache/classes"
javac -nowarn -d "$cache/classes" -cp "$cache/lib/*" "$here"/src/*.java 2>&1 | grep -v '^Note:' >&2 || true
# Flink's serializers use reflection on the JDK; its own start script sets the same flags.
opens=(--add-opens=java.base/java.lang=ALL-UNNAMED --add-opens=java.base/java.util=ALL-UNNAMED
  --add-opens=java.base/java.time=ALL-UNNAMED --add-opens=java.base/java.nio=ALL-UNNAMED)
exec java -Xmx2g "${opens[@]}" -cp "$cache/classes:$cache/lib/*" "$@"
