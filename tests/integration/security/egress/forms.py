"""Ways to write an address that must not be reached: hosts, and names with what DNS says."""

# ruff: noqa: RUF001 - characters that are mistaken for others are what is tried here

LOOPBACK = (
    "127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0", "0.1.2.3", "[::1]", "[::]",
    "[0:0:0:0:0:0:0:1]", "[0000::0001]", "[::127.0.0.1]", "[::7f00:1]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[::FFFF:7F00:0001]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::ffff:0:7f00:1]",
    "[64:ff9b::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
    "[2001:0:7f00:1::]", "[2001:0:4136:e378:8000:63bf:80ff:fffe]", "[2001:470::5efe:7f00:1]",
    "[2001:470::200:5efe:127.0.0.1]", "[fe80::5efe:127.0.0.1]", "[::1%lo]", "[::1%25lo]",
    "[fe80::1%25eth0]", "[fe80::1]", "[::ffff:0.0.0.0]",
)  # fmt: skip

SPELLINGS = (
    "2130706433", "0x7f000001", "0x7F.0x0.0x0.0x1", "0x7f.0.0.1", "0x7f.1", "017700000001",
    "0177.0.0.1", "0177.0.0.01", "0177.1", "127.1", "127.0.1", "0", "0x0", "00", "127.0.0.1.",
    "127.0.0.1..", "127.0.0.01", "127.000.000.001", "00000177.0.0.1", "6425673729",
    "127.0.0.0x1", "127.0x0001", "127。0。0。1", "127．0．0．1", "127｡0｡0｡1",
    "１２７.0.0.1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "127%2e0%2e0%2e1", "%31%32%37.0.0.1",
    "127.0.0.1%00.example.com", "127.0.0.1%0d%0a", "%6cocalhost", "[127.0.0.1]", "::1",
    "[::1].example.com", "[::1", "::1]", "[]", "", ".", "..", "localhost..", "-x.example",
    "2852039166", "0xa9fea9fe", "0251.0376.0251.0376", "169.254.43518", "169.16689662",
)  # fmt: skip

OTHERS = (
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1",
    "169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200", "192.0.0.192",
    "[fd00:ec2::254]", "[fd20:ce::254]", "224.0.0.1", "239.1.1.1", "255.255.255.255",
    "198.18.0.1", "240.0.0.1", "192.0.2.1", "192.88.99.1", "[fc00::1]", "[fd12::1]", "[fec0::1]",
    "[ff02::1]", "[ff0e::1]", "[5f00::1]", "[100::1]", "[4000::1]", "[2001:db8::1]",
    "[2002:a9fe:a9fe::]", "[::ffff:169.254.169.254]", "[::a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]",
    "[64:ff9b::a00:1]", "[2002:a00:1::1]", "[2001:470::5efe:10.0.0.1]",
)  # fmt: skip

TRICKS = (
    "user:hunter2@127.0.0.1", "@127.0.0.1", ":@127.0.0.1", "public.test@127.0.0.1",
    "public.test:80@127.0.0.1", "127.0.0.1@public.test", "a@b@127.0.0.1", "public.test\\@127.0.0.1",
    "127.0.0.1\\@public.test", "127.0.0.1\\.public.test", "127.0.0.1\r\nHost: public.test",
    "127.0.0.1\nX: 1", "127.0.0.1\t", " 127.0.0.1", "127.0.0.1 ", "127.0.0.1\x00",
    "127.0.0.1\x00.public.test", "127.0.0.1\u2028", "127.0.0.1\u00ad", "pub\u200blic.test",
    "public.test%20", "127.0.0.1;public.test", "127.0.0.1,public.test", "127.0.0.1&public.test",
    "loopback%2etest", "${host}", "*", "127.0.0.*", "a" * 64 + ".test", "a." * 130 + "test",
)  # fmt: skip

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
"""Played by loopback: an operator's allowance for the one makes it public in these tests."""

NAMES: dict[str, list[tuple[str, ...]]] = {
    "localhost": [(PRIVATE, "::1")],
    "api.localhost": [(PRIVATE,)],
    "loopback.test": [(PRIVATE,)],
    "loopback6.test": [("::1",)],
    "mapped.test": [("::ffff:127.0.0.2",)],
    "compatible.test": [("::7f00:2",)],
    "nat64.test": [("64:ff9b::7f00:2",)],
    "zero.test": [("0.0.0.0",)],
    "zero6.test": [("::",)],
    "metadata.test": [("169.254.169.254",)],
    "private.test": [("10.0.0.1",)],
    "alias.test": [("loopback.test",)],
    "public-first.test": [(PUBLIC, PRIVATE)],
    "private-first.test": [(PRIVATE, PUBLIC)],
    "six-public-four-private.test": [("2001:4860:4860::8888", PRIVATE)],
    "four-public-six-private.test": [(PUBLIC, "::1")],
    "one-of-many.test": [(*(f"8.8.{n}.8" for n in range(8)), PRIVATE)],
    "xn--lcalhost-9bb.test": [(PRIVATE,)],
}
FORMS = (*LOOPBACK, *SPELLINGS, *OTHERS, *TRICKS, *NAMES, "LOOPBACK.TEST", "loopback.test.")
