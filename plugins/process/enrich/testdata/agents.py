"""Writes agents.json: what another reader of user agents says of some that are in use.

pip install ua-parser==1.0.1 ua-parser-builtins, then: python agents.py > agents.json
"""
import json

from ua_parser import parse

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
IOS = "AppleWebKit/605.1.15 (KHTML, like Gecko)"
AGENTS = [
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/124.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {WEBKIT} Chrome/123.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/120.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/121.0.0.0 Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 14; Pixel 8 Pro) {WEBKIT} Chrome/124.0.6367.82 Mobile Safari/537.36",
    f"Mozilla/5.0 (Linux; Android 13; SM-S918B) {WEBKIT} SamsungBrowser/24.0 Chrome/117.0.0.0 Mobile Safari/537.36",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/124.0.0.0 Safari/537.36 Edg/124.0.2478.51",
    f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/122.0.0.0 Safari/537.36 OPR/108.0.0.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Android 14; Mobile; rv:125.0) Gecko/125.0 Firefox/125.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {IOS} Version/17.4.1 Safari/605.1.15",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4_1 like Mac OS X) {IOS} Version/17.4.1 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {IOS} Version/16.6 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {IOS} CriOS/124.0.6367.71 Mobile/15E148 Safari/604.1",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) {IOS} FxiOS/125.0 Mobile/15E148 Safari/605.1.15",
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Twitterbot/1.0",
]
NAMES = {"Samsung Internet": "Samsung Browser", "Mac OS X": "macOS", "Chrome OS": "ChromeOS", "Twitterbot": "Twitterbot"}


def plain(family):
    family = family.removeprefix("Mobile ").removesuffix(" Mobile iOS").removesuffix(" Mobile").removesuffix(" iOS")
    return NAMES.get(family, family)


out = []
for text in AGENTS:
    r = parse(text)
    out.append({
        "agent": text,
        "browser": plain(r.user_agent.family), "browser_major": r.user_agent.major or "",
        "os": plain(r.os.family) if r.os else "", "os_major": (r.os.major or "") if r.os else "",
        "bot": bool(r.device and r.device.family == "Spider"),
    })
print(json.dumps(out, indent=1))
