"""Keys and their hashes as the Java client has them: `Utils.toPositive(Utils.murmur2(key))` of kafka-clients 4.4.0.

Every length modulo 4 is there, hashes that are negative before `toPositive`, bytes over 127 in the tail, the two
spellings of one letter, and the longest id.
"""

GOLDEN = [
    ("", 275646681),
    ("a", 584102524),  # negative
    ("ab", 316155434),
    ("abc", 479470107),
    ("abcd", 823834100),  # negative
    ("abcde", 461995741),
    ("g1", 450950174),
    ("general", 899133079),  # negative
    ("irc-2004-12-25", 738708491),
    ("ünïcode", 1258917253),  # negative
    ("\u00e9", 186971271),
    ("e\u0301", 496939291),  # negative
    ("日本語グループ", 1005428009),
    ("🎉 party", 1722626078),
    ("a/b%20c", 569286329),
    ("0123456789abcdef", 1438427052),
    ("x" * 128, 1501918935),
    ("é" * 64, 1467885913),
]
