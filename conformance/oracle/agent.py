"""The guest's side of `cargo xtask record`: plays scenarios against the IPVS of the
kernel it runs on and writes the records.  It uses the standard library only.

Each scenario has a network namespace (the director) with two TAP devices, c0 for
the clients' side and s0 for the servers' side.  This program holds their other
ends, so it is the wire: it injects a frame, and since the whole receive path runs
before the write returns, what can be read afterwards was caused by that frame.

Usage: agent.py CONFIG, a JSON object with `scenarios` (paths), `out` (directory of
the records), `log` (a file), `modules` (the directory of the kernel's modules) and
`load` (how much of the guest's processor scenarios may use together, 0 to 1).
"""
import ctypes, fcntl, glob, heapq, ipaddress, json, os, struct, subprocess, sys, time, zlib

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNET = 0x40000000
C0_MAC, S0_MAC = bytes.fromhex("02c000000001"), bytes.fromhex("025000000001")
GW_MAC = bytes.fromhex("02c1000000fe")
DIR_C4, DIR_S4, GW4 = "192.0.2.1", "10.1.0.1", "192.0.2.254"
DIR_C6, DIR_S6, GW6 = "2001:db8::1", "2001:db8:2::1", "2001:db8::fe"
PROTO = {"tcp": 6, "udp": 17, "icmp": 1, "sctp": 132}
GUE_PORTS = {6080}


class Bad(Exception):
    pass


# ------------------------------------------------------------- small helpers
def csum(data, start=0):
    if len(data) & 1:
        data += b"\0"
    s = start + sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while s >> 16:
        s = (s & 0xFFFF) + (s >> 16)
    return s


def ip_bytes(a):
    return ipaddress.ip_address(a).packed


def is6(a):
    return ":" in a


def pseudo(src, dst, proto, length):
    if len(src) == 4:
        return csum(src + dst + struct.pack("!BBH", 0, proto, length & 0xFFFF))
    return csum(src + dst + struct.pack("!IHBB", length, 0, 0, proto))


def _crc32c_table():
    t = []
    for n in range(256):
        c = n
        for _ in range(8):
            c = (c >> 1) ^ 0x82F63B78 if c & 1 else c >> 1
        t.append(c)
    return t


CRCT = _crc32c_table()


def crc32c(data):
    c = 0xFFFFFFFF
    for b in data:
        c = CRCT[(c ^ b) & 0xFF] ^ (c >> 8)
    return c ^ 0xFFFFFFFF


def rs_mac(ip):
    p = ip_bytes(ip)
    return bytes([2, 4]) + p if len(p) == 4 else bytes([2, 6]) + struct.pack("!I", zlib.crc32(p))


def show(ip, port=None):
    ip = str(ipaddress.ip_address(ip))
    if port is None:
        return ip
    return "[%s]:%d" % (ip, port) if ":" in ip else "%s:%d" % (ip, port)


# -------------------------------------------------------------- the language
def split_hostport(tok):
    """'1.2.3.4:80', '[2001::1]:80', bare addresses -> (host text, port text)"""
    if tok.startswith("["):
        host, _, rest = tok[1:].partition("]")
        return host, rest[1:] if rest.startswith(":") else None
    if tok.count(":") == 1:
        h, p = tok.split(":")
        return h, p
    return tok, None


def expand(tok):
    """address and port, either of which may be a range -> [(ip, port)]"""
    host, port = split_hostport(tok)
    if port is not None and "-" in port:
        lo, hi = map(int, port.split("-"))
        ports = range(lo, hi + 1)
    else:
        ports = [int(port) if port is not None else 0]
    if "-" in host:
        base, last = host.rsplit("-", 1)
        sep = ":" if ":" in base else "."
        head, first = base.rsplit(sep, 1)
        radix = 16 if sep == ":" else 10
        hosts = [head + sep + (format(i, "x") if radix == 16 else str(i))
                 for i in range(int(first or "0", radix), int(last, radix) + 1)]
    else:
        hosts = [host]
    out = []
    for h in hosts:
        h = str(ipaddress.ip_address(h))
        out += [(h, p) for p in ports]
    return out


FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "W": 128}
CHUNKS = {"DATA": 0, "INIT": 1, "INIT-ACK": 2, "SACK": 3, "HEARTBEAT": 4, "HEARTBEAT-ACK": 5,
          "ABORT": 6, "SHUTDOWN": 7, "SHUTDOWN-ACK": 8, "ERROR": 9, "COOKIE-ECHO": 10,
          "COOKIE-ACK": 11, "SHUTDOWN-COMPLETE": 14}
ICMP_KINDS = {"unreach": (3, 1), "ttl": (11, 3), "toobig": (None, 2), "echo": (8, 128),
              "echo-reply": (0, 129), "quench": (4, None), "redirect": (5, None), "param": (12, 4)}


def options(words):
    o = {}
    rest = []
    for w in words:
        k, eq, v = w.partition("=")
        if eq and k == "data":
            o["data"] = payload_bytes(v)
        elif eq and k in ("len", "ttl", "tos", "id", "df", "code", "mtu", "at", "send", "seq", "ack", "csum"):
            o[k] = [int(x) for x in v.split(",")] if k in ("at", "send") else int(v, 0)
        else:
            rest.append(w)
    return o, rest


ESCAPES = {"r": 13, "n": 10, "t": 9, "s": 32, "\\": 92}


def payload_bytes(text):
    """the value of data=: escapes for what a word cannot have"""
    out, i = bytearray(), 0
    while i < len(text):
        if text[i] != "\\":
            out += text[i].encode()
            i += 1
        elif text[i + 1] == "x":
            out.append(int(text[i + 2:i + 4], 16))
            i += 4
        else:
            out.append(ESCAPES[text[i + 1]])
            i += 2
    return bytes(out)


def parse_packet(words):
    """words of a packet action -> list of packet dicts (ranges expanded)"""
    p = {"side": "c", "frag": False}
    w = list(words)
    if w[0] == "reply":
        p["side"] = "s"
        w.pop(0)
    if w[0] == "frag":
        p["frag"] = True
        w.pop(0)
    kind = w.pop(0)
    prefix = " ".join((["reply"] if p["side"] == "s" else []) + (["frag"] if p["frag"] else []))
    quoted = None
    if kind == "icmp":
        p["icmp"] = w.pop(0)
        if p["icmp"] not in ICMP_KINDS:
            raise Bad("unknown icmp kind " + p["icmp"])
        if "quoting" in w:
            i = w.index("quoting")
            q = w[i + 1:]
            w = w[:i]
            outer = None
            if q[0] == "ipip":
                outer = (str(ipaddress.ip_address(q[1].strip("[]"))), str(ipaddress.ip_address(q[3].strip("[]"))))
                q = q[4:]
            quoted = (outer, q)
    if kind not in PROTO:
        raise Bad("unknown packet kind " + kind)
    p["kind"] = kind
    if len(w) < 3 or w[1] != ">":
        raise Bad("expected SRC > DST")
    srcs, dsts = expand(w[0]), expand(w[2])
    o, rest = options(w[3:])
    p.update(o)
    p["flags"] = rest[0] if rest else ""
    if len(rest) > 1:
        raise Bad("do not understand " + " ".join(rest[1:]))
    if kind == "tcp" and (not rest or any(c not in FLAGS for c in p["flags"] if c != ".")):
        raise Bad("tcp needs flags")
    if kind == "sctp" and p["flags"] not in CHUNKS:
        raise Bad("sctp needs a chunk name")
    tail = " ".join(w[3:])
    res = []
    for s in srcs:
        for d in dsts:
            q = dict(p, src=s[0], sport=s[1], dst=d[0], dport=d[1])
            head = prefix + " " if prefix else ""
            if kind == "icmp":
                q["text"] = "%sicmp %s %s > %s" % (head, p["icmp"], br(s[0]), br(d[0]))
            else:
                q["text"] = "%s%s %s > %s" % (head, kind, show(*s), show(*d))
            if tail:
                q["text"] += " " + tail
            if quoted:
                sub = parse_packet(quoted[1])
                q["quote"] = sub[0]
                q["quote_outer"] = quoted[0]
                q["text"] += " quoting " + ("ipip %s > %s " % quoted[0] if quoted[0] else "") + sub[0]["text"]
            res.append(q)
    return res


def br(ip):
    return "[%s]" % ip if ":" in ip else ip


# ------------------------------------------- connection synchronisation
SYNC_PORT, SYNC_GROUP, SYNC_PEER = 8848, "224.0.0.81", "10.1.0.9"
SYNC_PROTO = {"ip": 0, "tcp": 6, "udp": 17, "sctp": 132}
SYNC_NUMBERS = ("flags", "state", "timeout", "mark", "type", "ver", "size")


def parse_sync(words):
    """words of a `sync` action -> (UDP port, datagram, text); wrong values are made as they are written"""
    w = list(words[1:])
    head = {"id": 0, "version": 1}
    while w and w[0].partition("=")[0] in ("port", "id", "version", "count", "total", "spare"):
        k, _, v = w.pop(0).partition("=")
        head[k] = int(v, 0)
    port = head.pop("port", SYNC_PORT)
    if w and w[0] == "raw":
        return port, bytes.fromhex("".join(w[1:])), " ".join(words)
    entries, one = [], []
    for x in w + [";"]:
        if x == ";":
            if one:
                entries += sync_entries(one, head["version"])
            one = []
        else:
            one.append(x)
    body = b""
    for e in entries:
        if head["version"] == 1:
            body += b"\0" * (-len(body) % 4)
        body += e
    count = head.get("count", len(entries))
    if head["version"] == 1:
        msg = struct.pack("!BBHBBH", 0, head["id"], head.get("total", 8 + len(body)), count & 255, 1, head.get("spare", 0)) + body
    else:
        msg = struct.pack("!BBH", count & 255, head["id"], head.get("total", 4 + len(body))) + body
    return port, msg, " ".join(words)


def sync_entries(w, version):
    """one entry of a `sync` action, ranges expanded -> [bytes]"""
    if len(w) < 6 or w[2] != ">" or w[4] != ">":
        raise Bad("expected PROTO CLIENT > VIRTUAL > SERVER")
    proto = SYNC_PROTO[w[0]] if w[0] in SYNC_PROTO else int(w[0], 0)
    f, opts, cut = {}, b"", None
    for x in w[6:]:
        k, eq, v = x.partition("=")
        if k in SYNC_NUMBERS:
            f[k] = int(v, 0)
        elif k == "seqs":
            opts += (bytes([1, 24]) if version == 1 else b"") + bytes.fromhex(v)
        elif k == "opt":
            t, _, d = v.partition(":")
            n, _, d = d.rpartition(":")
            d = bytes.fromhex(d)
            opts += bytes([int(t, 0), int(n, 0) if n else len(d)]) + d
        else:
            raise Bad("no field of an entry: " + x)
    res = []
    for c in expand(w[1]):
        for v in expand(w[3]):
            for s in expand(w[5]):
                v6 = is6(c[0])
                ends = ip_bytes(c[0]) + ip_bytes(v[0]) + ip_bytes(s[0])
                if version == 1:
                    n = (24 + len(ends) + len(opts)) if "size" not in f else f["size"]
                    res.append(struct.pack("!BBHIHHHHII", f.get("type", int(v6)), proto, f.get("ver", 0) << 12 | n & 0xfff,
                                           f.get("flags", 0), f.get("state", 0), c[1], v[1], s[1],
                                           f.get("mark", 0), f.get("timeout", 0)) + ends + opts)
                else:
                    res.append(struct.pack("!BBHHH", 0, proto, c[1], v[1], s[1]) + ends +
                               struct.pack("!HH", f.get("flags", 0) & 0xffff, f.get("state", 0)) + opts)
    return res


def sync_ends(proto, c, cp, v, vp, s, sp):
    name = {n: k for k, n in SYNC_PROTO.items()}.get(proto, str(proto))
    return "%s %s > %s > %s" % (name, show(c, cp), show(v, vp), show(s, sp))


def describe_sync(port, d):
    """a datagram of the kernel's master -> a line for each entry"""
    if d[0] == 0 and d[5] == 1 and d[6:8] == b"\0\0":
        total, count = struct.unpack("!HB", d[2:5])
        head, at, out = "port=%d id=%d version=1" % (port, d[1]), 8, []
        for _ in range(count):
            at += -at % 4
            t, proto, size, flags, state, cp, vp, sp, mark, timeout = struct.unpack("!BBHIHHHHII", d[at:at + 24])
            n = 16 if t & 1 else 4
            a = [d[at + 24 + n * i:at + 24 + n * (i + 1)] for i in range(3)]
            line = "%s %s flags=0x%x state=%d timeout=%d mark=%d" % (
                head, sync_ends(proto, a[0], cp, a[1], vp, a[2], sp), flags, state, timeout, mark)
            if t & ~1 or size >> 12:
                line += " type=0x%x ver=%d" % (t, size >> 12)
            o, end = at + 24 + 3 * n, at + (size & 0xfff)
            while o < end:
                kind, ln = d[o], d[o + 1]
                body = d[o + 2:o + 2 + ln]
                line += " seqs=" + body.hex() if kind == 1 else " opt=%d:%s" % (kind, body.hex())
                o += 2 + ln
            if o != end:
                line += " BAD-OPTIONS"
            at = end
            out.append(line)
        if at != len(d) or total != len(d):
            out.append("%s BAD-SIZE total=%d entries-end=%d datagram=%d" % (head, total, at, len(d)))
        return out
    total = struct.unpack("!H", d[2:4])[0]
    head, at, out = "port=%d id=%d version=0" % (port, d[1]), 4, []
    for _ in range(d[0]):
        spare, proto, cp, vp, sp = struct.unpack("!BBHHH", d[at:at + 8])
        a = [d[at + 8 + 4 * i:at + 12 + 4 * i] for i in range(3)]
        flags, state = struct.unpack("!HH", d[at + 20:at + 24])
        at += 24
        line = "%s %s flags=0x%x state=%d" % (head, sync_ends(proto, a[0], cp, a[1], vp, a[2], sp), flags, state)
        if flags & 0x600:
            line += " seqs=" + d[at:at + 24].hex()
            at += 24
        out.append(line)
    if at != len(d) or total != len(d):
        out.append("%s BAD-SIZE total=%d entries-end=%d datagram=%d" % (head, total, at, len(d)))
    return out


def take_sync(sc, frame):
    """keeps a datagram of a master daemon for `dump sync`; True if the frame is one, or a report of group membership"""
    et, raw = struct.unpack("!H", frame[12:14])[0], frame[14:]
    if et == 0x0800 and raw[9] == 2:
        return True
    n = (raw[0] & 15) * 4 if et == 0x0800 else 40
    v4 = et == 0x0800 and raw[9] == 17 and raw[16] >> 4 == 14
    v6 = et == 0x86DD and raw[6] == 17 and raw[24] == 255
    if not (v4 or v6):
        return False
    fo = struct.unpack("!H", raw[6:8])[0] if v4 else 0
    if fo & 0x3FFF:             # longer than the interface's MTU: its fragments come in their order
        sc.parts = (sc.parts if fo & 0x1FFF else b"") + raw[n:]
        if fo & 0x2000:
            return True
        raw, n = sc.parts, 0
    sc.sync.append((struct.unpack("!H", raw[n + 2:n + 4])[0], raw[n + 8:]))
    return True


class Scenario:
    def __init__(self, path):
        self.name = os.path.basename(path)
        if self.name.endswith(".lvs"):
            self.name = self.name[:-4]
        self.events = []
        self.title = ""
        self.vips, self.novips, self.servers, self.marks, self.gue = [], set(), [], [], set(GUE_PORTS)
        self.mtu, self.transparent, self.unreachable, self.noneigh = {}, None, [], set()
        self.engine = False
        self.rec, self.late, self.sync = [], 0.0, []
        last = 0.0
        for no, line in enumerate(open(path, encoding="utf-8"), 1):
            line = line.rstrip("\n")
            if line.startswith("#") and not self.title:
                self.title = line.lstrip("# ").strip()
            line = line.split(" #")[0].strip() if not line.startswith("#") else ""
            if not line:
                continue
            try:
                w = line.split()
                if w[0].startswith("@"):
                    self.directive(w)
                    continue
                t = float(w[0])
                if t < last:
                    raise Bad("time goes backwards")
                last = t
                self.event(t, w[0], w[1:])
            except (Bad, ValueError, IndexError, KeyError) as e:
                raise Bad("%s:%d: %s (%s)" % (path, no, e, line))
        self.vips = [v for v in dict.fromkeys(self.vips) if v not in self.novips]
        own = set(self.vips) | {DIR_C4, DIR_S4, DIR_C6, DIR_S6}
        self.servers = [s for s in dict.fromkeys(self.servers)
                        if s not in own and not ipaddress.ip_address(s).is_loopback]

    def directive(self, w):
        if w[0] == "@vip":
            self.vips += [str(ipaddress.ip_address(x.strip("[]"))) for x in w[1:]]
        elif w[0] == "@novip":
            self.novips |= {str(ipaddress.ip_address(x.strip("[]"))) for x in w[1:]}
        elif w[0] == "@server":
            self.servers += [str(ipaddress.ip_address(x.strip("[]"))) for x in w[1:]]
        elif w[0] == "@transparent":
            self.transparent = int(w[1], 0)
        elif w[0] == "@unreachable":
            self.unreachable += [str(ipaddress.ip_address(x.strip("[]"))) for x in w[1:]]
        elif w[0] == "@noneigh":
            self.noneigh |= {str(ipaddress.ip_address(x.strip("[]"))) for x in w[1:]}
        elif w[0] == "@engine":
            if w[1:] != ["sip"]:
                raise Bad("unknown engine")
            self.engine = True
        elif w[0] == "@mtu":
            self.mtu[w[1][0]] = int(w[2])
        else:
            raise Bad("unknown directive")

    def event(self, t, ttext, w):
        if w[0] == "ipvsadm":
            self.scan_ipvsadm(w)
            self.events.append((t, ttext, "ipvsadm", w))
        elif w[0] == "sysctl":
            if "=" not in w[1]:
                raise Bad("sysctl NAME=VALUE")
            self.events.append((t, ttext, "sysctl", w[1]))
        elif w[0] == "mark":
            host, port = split_hostport(w[2])
            if "/" not in host:
                host = str(ipaddress.ip_address(host))
                self.vips.append(host)
            self.events.append((t, ttext, "mark", (w, w[1], host, port, int(w[3], 0))))
        elif w[0] == "sync":
            self.events.append((t, ttext, "sync", parse_sync(w)))
        elif w[0] == "dump":
            if w[1] not in DUMPS:
                raise Bad("unknown dump")
            self.events.append((t, ttext, "dump", w))
        else:
            for p in parse_packet(w):
                self.events.append((t, ttext, "packet", p))

    def scan_ipvsadm(self, w):
        for a, b in zip(w, w[1:]):
            if a in ("-t", "-u", "--tcp-service", "--udp-service", "--sctp-service"):
                try:
                    self.vips.append(str(ipaddress.ip_address(split_hostport(b)[0])))
                except ValueError:
                    pass
            elif a in ("-r", "--real-server"):
                try:
                    self.servers.append(str(ipaddress.ip_address(split_hostport(b)[0])))
                except ValueError:
                    pass
            elif a == "--tun-port":
                self.gue.add(int(b))


DUMPS = {"conns": None, "services": ["-Ln"], "stats": ["-Ln", "--stats", "--exact"],
         "rates": ["-Ln", "--rate", "--exact"], "timeouts": ["-Ln", "--timeout"],
         "persist": ["-Ln", "--persistent-conn"], "thresholds": ["-Ln", "--thresholds"],
         "save": ["-Sn"], "proc": None, "sysctls": None, "tuninfo": ["-Ln", "--tun-info"],
         "daemon": ["-Ln", "--daemon"], "sync": None, "engines": None}


# ---------------------------------------------------------- packets to bytes
def l4_bytes(p, src, dst):
    kind = p["kind"]
    n = p.get("len", 0)
    payload = p.get("data", bytes((65 + i % 26) for i in range(n)))
    n = len(payload)
    v6 = len(src) == 16
    if kind == "tcp":
        fl = 0
        for c in p["flags"]:
            fl |= FLAGS.get(c, 0)
        seg = struct.pack("!HHIIBBHHH", p["sport"], p["dport"], p.get("seq", 1000),
                          p.get("ack", 2000 if fl & 16 else 0), 5 << 4, fl, 65535, 0, 0) + payload
        c = 0xFFFF ^ csum(seg, pseudo(src, dst, 6, len(seg)))
        return 6, seg[:16] + struct.pack("!H", c ^ (0x5555 if p.get("csum") == 0 else 0)) + seg[18:]
    if kind == "udp":
        seg = struct.pack("!HHHH", p["sport"], p["dport"], 8 + n, 0) + payload
        c = 0xFFFF ^ csum(seg, pseudo(src, dst, 17, len(seg)))
        return 17, seg[:6] + struct.pack("!H", c or 0xFFFF) + payload
    if kind == "sctp":
        typ = CHUNKS[p["flags"]]
        body = payload
        if typ in (1, 2):
            body = struct.pack("!IIHHI", 7, 65535, 1, 1, 1)
        elif typ == 0:
            body = struct.pack("!IHHI", 1, 0, 0, 0) + (payload or b"data")
        elif typ == 3:
            body = struct.pack("!IIHH", 1, 65535, 0, 0)
        elif typ == 7:
            body = struct.pack("!I", 1)
        elif typ == 10:
            body = payload or b"cook"
        fill = b"\0" * (-len(body) % 4)
        chunk = struct.pack("!BBH", typ, 3 if typ == 0 else 0, 4 + len(body)) + body + fill
        pk = struct.pack("!HHII", p["sport"], p["dport"], 0 if typ == 1 else 9, 0) + chunk
        return 132, pk[:8] + struct.pack("<I", crc32c(pk)) + pk[12:]
    if kind == "icmp":
        t = ICMP_KINDS[p["icmp"]][1 if v6 else 0]
        if t is None:
            t = 3 if not v6 else 2
        code = p.get("code", (4 if p["icmp"] == "unreach" and "mtu" in p else
                              4 if p["icmp"] == "toobig" and not v6 else
                              3 if p["icmp"] == "unreach" and not v6 else
                              4 if p["icmp"] == "unreach" else 0))
        if p["icmp"].startswith("echo"):
            body = struct.pack("!HH", 77, 1) + payload
        else:
            mtu = p.get("mtu", 0)
            body = struct.pack("!I", mtu)
            if "quote" in p:
                q = p["quote"]
                raw = ip_packet(q)[0]
                if p.get("quote_outer"):
                    a, b = p["quote_outer"]
                    raw = wrap_ip(ip_bytes(a), ip_bytes(b), 4 if raw[0] >> 4 == 4 else 41, raw, {"ttl": 60})
                body += raw[:1232 if v6 else 548]
        seg = struct.pack("!BBH", t, code, 0) + body
        c = 0xFFFF ^ csum(seg, pseudo(src, dst, 58, len(seg)) if v6 else 0)
        return (58 if v6 else 1), seg[:2] + struct.pack("!H", c) + seg[4:]
    raise Bad(kind)


def wrap_ip(src, dst, proto, payload, p, off=0, mf=False, fragid=None):
    if len(src) == 4:
        df = p.get("df", 0 if (mf or off or fragid is not None) else 1)
        ident = p.get("id", 0x1234) if fragid is None else fragid
        h = struct.pack("!BBHHHBBH", 0x45, p.get("tos", 0), 20 + len(payload), ident,
                        (0x4000 if df else 0) | (0x2000 if mf else 0) | off // 8, p.get("ttl", 64), proto, 0) + src + dst
        return h[:10] + struct.pack("!H", 0xFFFF ^ csum(h)) + h[12:] + payload
    nh = proto
    if fragid is not None:
        payload = struct.pack("!BBHI", proto, 0, off | (1 if mf else 0), fragid) + payload
        nh = 44
    return struct.pack("!IHBB", 0x60000000 | p.get("tos", 0) << 20, len(payload), nh, p.get("ttl", 64)) + src + dst + payload


def ip_packet(p):
    """-> list of IP packets (several when fragmented)"""
    src, dst = ip_bytes(p["src"]), ip_bytes(p["dst"])
    proto, seg = l4_bytes(p, src, dst)
    if not p["frag"]:
        return [wrap_ip(src, dst, proto, seg, p)]
    cuts = [0] + [c - c % 8 for c in p.get("at", [len(seg) // 2])] + [len(seg)]
    fid = p.get("id", 0x4321)
    parts = [wrap_ip(src, dst, proto, seg[a:b], p, a, b != len(seg), fid) for a, b in zip(cuts, cuts[1:])]
    return [parts[i] for i in p.get("send", range(len(parts)))]


# ------------------------------------------------------------- bytes to text
U4 = {0: "net-unreach", 1: "host-unreach", 2: "proto-unreach", 3: "port-unreach", 4: "frag-needed", 5: "source-route",
      9: "net-prohibited", 10: "host-prohibited", 13: "admin-prohibited"}
U6 = {0: "no-route", 1: "admin-prohibited", 3: "addr-unreach", 4: "port-unreach"}


def icmp_name(v6, t, c):
    if v6:
        if t == 1:
            return U6.get(c, "unreach-%d" % c)
        return {2: "too-big", 3: "time-exceeded", 4: "param-problem", 128: "echo", 129: "echo-reply",
                135: "neighbour-solicit", 136: "neighbour-advert"}.get(t, "icmp6-%d-%d" % (t, c))
    if t == 3:
        return U4.get(c, "unreach-%d" % c)
    return {0: "echo-reply", 4: "source-quench", 5: "redirect", 8: "echo", 11: "time-exceeded",
            12: "param-problem"}.get(t, "icmp-%d-%d" % (t, c))


class Ctx:
    def __init__(self, ident, gue):
        self.ident, self.gue = ident, gue


def d_ip(raw, cx, quoted=False, part=False):
    """-> (info dict, text) of an IP packet"""
    v = raw[0] >> 4
    info = {"v": v}
    if v == 4:
        hl = (raw[0] & 15) * 4
        tos, tot, ident, fo, ttl, proto = raw[1], *struct.unpack("!HHH", raw[2:8]), raw[8], raw[9]
        src, dst = raw[12:16], raw[16:20]
        if quoted:
            body = raw[hl:]
        else:
            body = raw[hl:tot]
        off, mf = (fo & 0x1FFF) * 8, bool(fo & 0x2000)
        idt = "0" if ident == 0 else "in" if ident == cx.ident else "new"
        t = "ip4 %s > %s ttl=%d tos=0x%02x df=%d id=%s len=%d" % (
            show(src), show(dst), ttl, tos, bool(fo & 0x4000), idt, tot)
        if csum(raw[:hl]) != 0xFFFF:
            t += " ipcsum=BAD"
        if not quoted and not part and len(raw) < tot:
            t += " TRUNCATED"
    else:
        fl, plen, nh, ttl = struct.unpack("!IHBB", raw[:8])
        src, dst = raw[8:24], raw[24:40]
        tos, tot, off, mf, proto = fl >> 20 & 255, plen + 40, 0, False, nh
        body = raw[40:40 + plen] if not quoted else raw[40:]
        idt = ""
        if nh == 44:
            proto, _, fo, ident = struct.unpack("!BBHI", body[:8])
            off, mf = fo & 0xFFF8, bool(fo & 1)
            body = body[8:]
        t = "ip6 %s > %s hlim=%d tc=0x%02x len=%d" % (show(src), show(dst), ttl, tos, tot)
    if off or mf:
        t += " frag=%d%s" % (off, "+" if mf else "")
    info.update(src=show(src), dst=show(dst), proto=proto, off=off, mf=mf, tos=tos, ttl=ttl)
    if off:
        info["l4"] = "later-fragment"
        return info, t + " | fragment of proto %d, %d bytes" % (proto, len(body))
    part = part or mf
    whole = not part and not quoted
    ps = pseudo(src, dst, proto, len(body))
    if proto == 6 and len(body) >= 8:
        sp, dp = struct.unpack("!HH", body[:4])
        fl = "?"
        if len(body) >= 14:
            fl = "".join(c for c in "SFRPAUEW" if body[13] & FLAGS[c]) or "."
        info.update(sport=sp, dport=dp, flags=fl)
        t += " | tcp %d > %d %s" % (sp, dp, fl)
        if whole:
            t += " csum=%s" % ("ok" if csum(body, ps) == 0xFFFF else "BAD")
    elif proto == 17 and len(body) >= 8:
        sp, dp, ul, uc = struct.unpack("!HHHH", body[:8])
        info.update(sport=sp, dport=dp)
        good = "none" if uc == 0 else ("ok" if csum(body, ps) == 0xFFFF else "BAD")
        if dp in cx.gue and not quoted and len(body) > 12 and body[8] >> 6 in (0, 1) and info["src"] in (DIR_S4, DIR_S6, DIR_C4, DIR_C6):
            g = body[8:]
            ctl, hlen, gproto, gflags = g[0] >> 5 & 1, (g[0] & 31) * 4, g[1], struct.unpack("!H", g[2:4])[0]
            info["tun"] = "gue"
            t += " | udp sport=var > %d csum=%s | gue ctl=%d hlen=%d proto=%d flags=0x%04x" % (dp, good if whole else "frag", ctl, hlen, gproto, gflags)
            if hlen:
                t += " opt=%s" % g[4:4 + hlen].hex()
            inner, it = d_ip(g[4 + hlen:], cx, quoted, part)
            info["inner"] = inner
            t += " | " + it
        else:
            t += " | udp %d > %d" % (sp, dp)
            if whole:
                t += " csum=%s" % good
    elif proto in (4, 41) and len(body) >= 20:
        info["tun"] = "ipip"
        inner, it = d_ip(body, cx, quoted, part)
        info["inner"] = inner
        t += " | ipip | " + it
    elif proto == 47 and len(body) >= 4:
        gf, gp = struct.unpack("!HH", body[:4])
        n = 4
        t += " | gre flags=0x%04x proto=0x%04x" % (gf, gp)
        if gf & 0x8000:
            n += 4
            t += " csum=%s" % ("frag" if part else "ok" if csum(body) == 0xFFFF else "BAD")
        info["tun"] = "gre"
        inner, it = d_ip(body[n:], cx, quoted, part)
        info["inner"] = inner
        t += " | " + it
    elif proto == 132 and len(body) >= 13:
        sp, dp = struct.unpack("!HH", body[:4])
        nm = {v: k for k, v in CHUNKS.items()}.get(body[12], str(body[12]))
        info.update(sport=sp, dport=dp, flags=nm)
        t += " | sctp %d > %d %s" % (sp, dp, nm)
        if whole:
            z = body[:8] + b"\0\0\0\0" + body[12:]
            t += " crc=%s" % ("ok" if struct.pack("<I", crc32c(z)) == body[8:12] else "BAD")
    elif proto in (1, 58) and len(body) >= 8:
        ty, co = body[0], body[1]
        nm = icmp_name(v == 6, ty, co)
        info["icmp"] = nm
        t += " | icmp %s" % nm
        if nm in ("frag-needed", "too-big"):
            info["mtu"] = struct.unpack("!I", body[4:8])[0]
            t += " mtu=%d" % info["mtu"]
        if whole:
            t += " csum=%s" % ("ok" if csum(body, ps if v == 6 else 0) == 0xFFFF else "BAD")
        if (v == 4 and ty in (3, 4, 5, 11, 12)) or (v == 6 and ty < 128):
            try:
                q, qt = d_ip(body[8:], cx, True)
                info["quote"] = q
                t += " quoting { %s }" % qt
            except (struct.error, IndexError):
                t += " quoting { short }"
    else:
        t += " | proto %d, %d bytes" % (proto, len(body))
    return info, t


def describe(sc, iface, frame, cause):
    """-> (headline, detail) for a frame the director sent; None to ignore it"""
    et = struct.unpack("!H", frame[12:14])[0]
    cx = Ctx(cause.get("id", 0x4321 if cause.get("frag") else 0x1234) if cause else None, sc.gue)
    if et == 0x0806:
        return "arp who-has %s" % show(frame[38:42]), "%s arp who-has %s" % (iface, show(frame[38:42]))
    if et not in (0x0800, 0x86DD):
        return None
    raw = frame[14:]
    if et == 0x86DD and raw[6] == 0:          # hop-by-hop: MLD noise
        return None
    if et == 0x86DD and raw[6] == 58 and raw[40] in (133, 134, 143):
        return None
    info, text = d_ip(raw, cx)
    if info.get("icmp") == "neighbour-solicit":
        return "nd who-has %s" % show(raw[48:64]), "%s nd who-has %s" % (iface, show(raw[48:64]))
    fr = ""
    if info["off"] or info["mf"]:
        fr = " frag"
    if iface == "s0":
        rs = sc.macs.get(frame[:6])
        own = info["src"] in (DIR_S4, DIR_S6, DIR_C4, DIR_C6)
        if own and info.get("icmp") and not info.get("tun"):
            return "icmp %s to %s" % (info["icmp"], info["dst"]) + fr, "s0 icmp | " + text
        if rs is None:
            kind = "server-side " + frame[:6].hex(":")
        elif info.get("tun") or (own and info["off"]):
            kind = "tun " + rs
        elif info["dst"] == rs and not (cause and cause["dst"] == rs):
            kind = "nat " + show(rs, info["dport"]) if "dport" in info else "nat " + rs
        elif info.get("off") and cause and cause["dst"] != info["dst"]:
            kind = "nat " + rs
        else:
            kind = "dr " + rs
        if info.get("icmp"):
            kind += " icmp " + info["icmp"]
    else:
        if info.get("icmp"):
            kind = "icmp %s to %s" % (info["icmp"], info["dst"])
        elif "R" in str(info.get("flags", "")) and cause and cause["side"] == "c":
            kind = "rst"
        elif cause and cause["side"] == "c":
            kind = "client-side " + info["dst"]
        else:
            kind = "client " + info["dst"]
            if "sport" in info:
                kind = "client %s > %s" % (show(info["src"], info["sport"]), show(info["dst"], info["dport"]))
    return kind + fr, "%s %s%s | %s" % (iface, kind.split(" ")[0], "", text)


# ------------------------------------------------------------------ the guest
def setns(fd):
    if LIBC.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def write_sys(path, val):
    with open("/proc/sys/" + path, "w") as f:
        f.write(val)


def cmd(args, inp=None):
    r = subprocess.run(args, input=inp, stdin=None if inp is not None else subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, close_fds=False)
    return r.returncode, r.stdout, r.stderr


def tap(name):
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1002))
    return fd


def setup(sc):
    if LIBC.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    sc.ns = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    sc.fd = {"c0": tap("c0"), "s0": tap("s0")}
    for k, v in (("net/ipv4/ip_forward", "1"), ("net/ipv4/conf/all/rp_filter", "0"),
                 ("net/ipv4/conf/default/rp_filter", "0"), ("net/ipv4/conf/all/send_redirects", "0"),
                 ("net/ipv4/conf/default/send_redirects", "0"), ("net/ipv4/icmp_ratelimit", "0"),
                 ("net/ipv4/icmp_echo_ignore_broadcasts", "1"), ("net/ipv4/conf/all/arp_ignore", "1"),
                 ("net/ipv6/conf/all/forwarding", "1"), ("net/ipv6/icmp/ratelimit", "0")):
        write_sys(k, v)
    for i in ("c0", "s0"):
        for k, v in (("rp_filter", "0"), ("send_redirects", "0")):
            write_sys("net/ipv4/conf/%s/%s" % (i, k), v)
        for k, v in (("addr_gen_mode", "1"), ("accept_ra", "0"), ("accept_dad", "0"), ("dad_transmits", "0"),
                     ("forwarding", "1"), ("router_solicitations", "0")):
            write_sys("net/ipv6/conf/%s/%s" % (i, k), v)
    b = ["link set lo up",
         "link set c0 address %s up" % C0_MAC.hex(":"), "link set s0 address %s up" % S0_MAC.hex(":"),
         "addr add %s/32 dev c0" % DIR_C4, "addr add %s/16 dev s0" % DIR_S4,
         "neigh add %s lladdr %s dev c0 nud permanent" % (GW4, GW_MAC.hex(":")),
         "route add default via %s dev c0 onlink" % GW4,
         "addr add %s/128 dev c0 nodad" % DIR_C6, "addr add %s/64 dev s0 nodad" % DIR_S6,
         "neigh add %s lladdr %s dev c0 nud permanent" % (GW6, GW_MAC.hex(":")),
         "route add %s/128 dev c0" % GW6, "route add default via %s dev c0" % GW6]
    for i in "cs":
        if i in sc.mtu:
            b.append("link set %s0 mtu %d" % (i, sc.mtu[i]))
    for v in sc.vips:
        b.append("addr add %s/%d dev lo%s" % (v, 128 if is6(v) else 32, " nodad" if is6(v) else ""))
    sc.macs = {}
    for s in sc.servers:
        m = rs_mac(s)
        sc.macs[m] = s
        net = "2001:db8:2::/64" if is6(s) else "10.1.0.0/16"
        if ipaddress.ip_address(s) not in ipaddress.ip_network(net):
            b.append("route add %s/%d dev s0" % (s, 128 if is6(s) else 32))
        if s in sc.noneigh:
            continue
        b.append("neigh add %s lladdr %s dev s0 nud permanent" % (s, m.hex(":")))
    for s in sc.unreachable:
        b.append("route add unreachable %s/%d" % (s, 128 if is6(s) else 32))
    if sc.transparent is not None:
        b += ["rule add fwmark %d lookup 100" % sc.transparent, "route add local default dev lo table 100"]
    rc, out, err = cmd(["ip", "-force", "-batch", "-"], "\n".join(b) + "\n")
    if rc or err:
        log("%s: ip: %s" % (sc.name, err.strip()))
    if any(e[2] == "mark" for e in sc.events):
        cmd(["tc", "qdisc", "add", "dev", "c0", "ingress"])
    sc.snmp = [open("/proc/thread-self/net/snmp", "rb", buffering=0),
               open("/proc/thread-self/net/snmp6", "rb", buffering=0)]
    drain(sc)
    sc.deliv = delivered(sc)


def delivered(sc):
    n = 0
    f4, f6 = sc.snmp
    f4.seek(0)
    rows = [l.split() for l in f4.read(65536).decode().splitlines() if l.startswith("Ip:")]
    n += int(rows[1][rows[0].index("InDelivers")])
    f6.seek(0)
    for l in f6.read(65536).decode().splitlines():
        if l.startswith("Ip6InDelivers"):
            n += int(l.split()[1])
    return n


def drain(sc):
    got = []
    for i in ("c0", "s0"):
        while True:
            try:
                got.append((i, os.read(sc.fd[i], 70000)))
            except BlockingIOError:
                break
    return got


def frames(sc, p):
    dst = C0_MAC if p["side"] == "c" else S0_MAC
    src = GW_MAC if p["side"] == "c" else rs_mac(p["src"])
    for raw in ip_packet(p):
        yield dst + src + (b"\x86\xdd" if raw[0] >> 4 == 6 else b"\x08\x00") + raw


def outcome(sc, got, cause, t):
    heads, details = [], []
    for i, f in got:
        if take_sync(sc, f):
            continue
        d = describe(sc, i, f, cause)
        if d is None:
            continue
        heads.append(d[0])
        details.append("    " + d[1])
    return heads, details


def play(sc, ev):
    t, ttext, kind, a = ev
    setns(sc.ns)
    late = drain(sc)
    if late:
        h, d = outcome(sc, late, None, t)
        if h:
            sc.rec.append("%s async => %s" % (ttext, " + ".join(h)))
            sc.rec += d
        sc.deliv = delivered(sc)
    if kind == "packet":
        fl = list(frames(sc, a))
        for n, f in enumerate(fl):
            err = ""
            try:
                os.write(sc.fd["c0" if a["side"] == "c" else "s0"], f)
            except OSError as e:
                err = " (injection failed: %s)" % e.strerror
            got = drain(sc)
            dv = delivered(sc)
            heads, details = outcome(sc, got, a, t)
            if dv != sc.deliv:
                heads.insert(0, "local")
            sc.deliv = dv
            what = a["text"]
            if len(fl) > 1:
                what += " part %d" % n
            res = " + ".join(heads) or ("held" if a["frag"] and (n < len(fl) - 1 or len(fl) <= len(a.get("at", [0]))) else "drop")
            sc.rec.append("%s %s => %s%s" % (ttext, what, res, err))
            sc.rec += details
        return
    if kind == "ipvsadm":
        rc, out, err = cmd(a)
        sc.rec.append("%s %s => %s" % (ttext, " ".join(a), "ok" if rc == 0 else "exit %d" % rc))
        sc.rec += ["    ! " + l for l in (out + err).splitlines() if l.strip()]
    elif kind == "sysctl":
        k, v = a.split("=", 1)
        try:
            write_sys(k.replace(".", "/"), v.replace(",", " ") if k.endswith("sync_threshold") else v)
            r = "ok"
        except OSError as e:
            r = "failed: %s" % e.strerror
        sc.rec.append("%s sysctl %s => %s" % (ttext, a, r))
    elif kind == "mark":
        w, proto, host, port, mark = a
        v6 = ":" in host
        sc.prio = getattr(sc, "prio", 0) + 1
        c = ["tc", "filter", "add", "dev", "c0", "parent", "ffff:", "prio", str(sc.prio),
             "protocol", "ipv6" if v6 else "ip", "flower"]
        if proto != "any":
            c += ["ip_proto", "icmpv6" if v6 and proto == "icmp" else proto]
        c += ["dst_ip", host]
        if port:
            c += ["dst_port", port]
        c += ["action", "skbedit", "mark", str(mark)]
        rc, out, err = cmd(c)
        sc.rec.append("%s %s => %s" % (ttext, " ".join(w), "ok" if rc == 0 else "failed: " + err.strip().replace("\n", "; ")))
    elif kind == "sync":
        port, d, text = a
        src, dst = ip_bytes(SYNC_PEER), ip_bytes(SYNC_GROUP)
        seg = struct.pack("!HHHH", 40000, port, 8 + len(d), 0) + d
        seg = seg[:6] + struct.pack("!H", (0xFFFF ^ csum(seg, pseudo(src, dst, 17, len(seg)))) or 0xFFFF) + d
        mac = b"\x01\0\x5e" + bytes([dst[1] & 127]) + dst[2:]
        raw = wrap_ip(src, dst, 17, seg, {"ttl": 1, "id": 0})
        try:
            os.write(sc.fd["s0"], mac + rs_mac(SYNC_PEER) + b"\x08\0" + raw)
            r = "ok"
        except OSError as e:
            r = "failed: %s" % e.strerror
        sc.rec.append("%s %s => %s" % (ttext, text, r))
        sc.deliv = delivered(sc)
    elif kind == "dump":
        dump(sc, ttext, a)
    got = drain(sc)
    if got:
        h, d = outcome(sc, got, None, t)
        if h:
            sc.rec.append("%s async => %s" % (ttext, " + ".join(h)))
            sc.rec += d


def blocks(lines, is_head, ordered):
    """sort service blocks (a head line and its dest lines)"""
    out, cur = [], None
    for l in lines:
        if is_head(l):
            cur = [l]
            out.append(cur)
        elif cur is None:
            out.append([l])
        else:
            cur.append(l)
    out.sort(key=lambda b: b[0])
    return [l for b in out for l in b]


def dump(sc, ttext, w):
    what = w[1]
    sc.rec.append("%s %s" % (ttext, " ".join(w)))

    def emit(tag, lines):
        sc.rec.extend("    %s| %s" % (tag, l.rstrip()) for l in lines)

    if what in ("conns", "engines"):
        more = ["--persistent-conn"] if what == "engines" else []
        rc, out, err = cmd(["ipvsadm", "-Lcn"] + more)
        body = out.splitlines()[2:]
        body.sort(key=lambda l: l.split()[0:1] + l.split()[2:])
        emit("", body or ["(none)"])
        for l in err.splitlines():
            emit("!", [l])
        rows = open("/proc/net/ip_vs_conn").read().splitlines()[1:]
        rows.sort(key=lambda l: l.split()[:8])
        emit("proc", rows)
    elif what == "sync":
        taken, sc.sync = sc.sync, []
        emit("", [l for port, d in taken for l in describe_sync(port, d)] or ["(none)"])
        emit("raw", ["%d %s" % (port, d.hex()) for port, d in taken])
    elif what == "proc":
        l = open("/proc/net/ip_vs").read().splitlines()
        emit("ip_vs", l[:3] + blocks(l[3:], lambda x: not x.startswith("  ->"), True))
        emit("ip_vs_stats", open("/proc/net/ip_vs_stats").read().splitlines())
    elif what == "sysctls":
        base = "/proc/sys/net/ipv4/vs/"
        for n in sorted(os.listdir(base)):
            try:
                emit("", ["%s=%s" % (n, open(base + n).read().strip().replace("\t", " "))])
            except OSError as e:
                emit("", ["%s unreadable" % n])
    else:
        rc, out, err = cmd(["ipvsadm"] + DUMPS[what])
        lines = out.splitlines()
        if what == "save":
            lines = blocks(lines, lambda x: x.startswith("-A"), True)
        elif what not in ("timeouts", "daemon"):
            n = next((i for i, l in enumerate(lines) if l.startswith("  ->")), len(lines) - 1) + 1
            lines = lines[:n] + blocks(lines[n:], lambda x: not x.startswith("  ->"), True)
        emit("", lines)
        for l in err.splitlines():
            emit("!", [l])
        if rc:
            emit("!", ["exit %d" % rc])


def log(s):
    with open(CFG["log"], "a") as f:
        f.write(s + "\n")


def load_modules(names):
    base = CFG["modules"] + "/"
    deps = {}
    for l in open(base + "modules.dep"):
        m, d = l.strip().split(":")
        deps[m] = d.split()
    byname = {os.path.basename(m)[:-3].replace("-", "_"): m for m in deps}
    done = set()

    def ins(m):
        if m in done:
            return
        done.add(m)
        rc, out, err = cmd(["insmod", base + m])
        if rc:
            log("insmod %s: %s" % (m, err.strip()))
    for n in names:
        if n not in byname:
            log("no module " + n)
            continue
        for d in reversed(deps[byname[n]]):
            ins(d)
        ins(byname[n])


def costs(sc):
    """seconds of the processor for each event, as far as one can tell"""
    one = CFG.get("exec_cost", 0.05)
    out = [{"packet": 0.0015, "sysctl": 0.0015, "sync": 0.003}.get(e[2], one) for e in sc.events]
    m = 0
    while m < len(sc.events):
        n = len(filling(sc, m))
        out[m + 1:m + n] = [0.002] * (n - 1)
        m += max(n, 1)
    return out


def filling(sc, m):
    """the lines at time 0, from event m on, that fill the table: one exec can do them all"""
    before = [e for e in sc.events[:m] if e[2] == "ipvsadm" and e[3][1:2] != ["--set"]]
    run = []
    while not before and m < len(sc.events):
        e = sc.events[m]
        if e[0] != 0 or e[2] != "ipvsadm" or e[3][1:2] not in (["-A"], ["-a"]):
            break
        run.append(e)
        m += 1
    return run


def fill(sc, run):
    """does them, if they all succeed; what failed is undone, so that they can be done one by one"""
    setns(sc.ns)
    rc, out, err = cmd(["ipvsadm", "-R"], "".join(" ".join(e[3][1:]) + "\n" for e in run))
    if rc or out or err:
        cmd(["ipvsadm", "-C"])
        return False
    sc.rec += ["%s %s => ok" % (e[1], " ".join(e[3])) for e in run]
    return True


def offsets(scs):
    """start times that keep the load of the single guest CPU at CFG's `load`, of 1"""
    bins = {}
    B = 0.2
    for sc in sorted(scs, key=lambda s: -(s.events[-1][0] if s.events else 0)):
        each = costs(sc)
        prelude = sum(c for c, e in zip(each, sc.events) if e[0] == 0)
        off = 0.0
        while True:
            add = {}
            busy = off
            for c, e in zip(each, sc.events):
                at = max(busy, off if e[0] == 0 else off + prelude + e[0])
                left = c
                busy = at + left
                while left > 1e-9:          # spread over the bins it covers
                    k = int(at / B + 1e-9)
                    part = min(left, (k + 1) * B - at)
                    add[k] = add.get(k, 0) + part
                    at += part
                    left -= part
            if all(bins.get(k, 0) + v <= max(CFG["load"] * B, v) + 1e-9 for k, v in add.items()):
                break
            off += 0.05
        for k, v in add.items():
            bins[k] = bins.get(k, 0) + v
        sc.off = off


def main():
    scs = []
    for p in CFG["scenarios"]:
        scs.append(Scenario(p))
    load_modules(["ipv6", "tun", "ip_vs"] +
                 ["ip_vs_" + s for s in "rr wrr lc wlc sh mh dh sed nq lblc lblcr fo ovf".split()] +
                 (["ip_vs_pe_sip"] if any(sc.engine for sc in scs) else []) +
                 ["nf_defrag_ipv4", "nf_defrag_ipv6", "sch_ingress", "cls_flower", "act_skbedit"])
    write_sys("net/ipv4/icmp_msgs_per_sec", "100000")
    write_sys("net/ipv4/icmp_msgs_burst", "100000")
    t0 = time.monotonic()
    for _ in range(3):
        cmd(["ipvsadm", "-Ln"])
    CFG["exec_cost"] = max(0.05, 1.3 * (time.monotonic() - t0) / 3)
    t0 = time.monotonic()
    for sc in scs:
        setup(sc)
    log("setup of %d scenarios %.1f s, ipvsadm exec %.3f s" % (len(scs), time.monotonic() - t0, CFG["exec_cost"]))
    offsets(scs)
    time.sleep(0.5)
    for sc in scs:          # what the interfaces sent on coming up
        drain(sc)
    start = time.monotonic() + 0.2
    heap = []
    for n, sc in enumerate(scs):
        sc.base = None
        if sc.events:
            heap.append((start + sc.off, n, 0))
    heapq.heapify(heap)
    for sc in scs:
        sc.left = len(sc.events)
        if not sc.left:
            finish(sc)
    while heap:
        at, n, m = heapq.heappop(heap)
        now = time.monotonic()
        if now < at:
            time.sleep(at - now)
        sc = scs[n]
        e = sc.events[m]
        burst = e[0] == 0 or (m and sc.events[m - 1][0] == e[0])
        if not burst:
            sc.late = max(sc.late, time.monotonic() - at)
        began = time.monotonic()
        done = 1
        try:
            run = filling(sc, m)
            if len(run) > 1 and fill(sc, run):
                done = len(run)
            else:
                play(sc, e)
        except Exception as x:          # record it, go on
            sc.rec.append("%s INTERNAL %r" % (e[1], x))
            log("%s: %r" % (sc.name, x))
        u = USED.setdefault(e[2] + ("-conns" if e[2] == "dump" and e[3][1] == "conns" else ""), [0, 0.0])
        u[0] += 1
        u[1] += time.monotonic() - began
        sc.left -= done
        m += done
        if not sc.left:
            finish(sc)
            continue
        # what stands at time 0 is done before the scenario's clock starts
        nxt = sc.events[m][0]
        if nxt == 0:
            heapq.heappush(heap, (at, n, m))
        else:
            if sc.base is None:
                sc.base = time.monotonic()
            heapq.heappush(heap, (sc.base + nxt, n, m))
    log("cost per event: " + ", ".join("%s %d x %.1f ms" % (k, n, 1000 * t / n) for k, (n, t) in sorted(USED.items())))
    log("played in %.1f s" % (time.monotonic() - start))


USED = {}


def finish(sc):
    setns(sc.ns)
    got = drain(sc)
    h, d = outcome(sc, got, None, sc.events[-1][0] if sc.events else 0)
    if h:
        sc.rec.append("end async => " + " + ".join(h))
        sc.rec += d
    base = os.path.join(CFG["out"], sc.name)
    with open(base + ".rec", "w") as f:
        f.write("# lvs-oracle record v1\n# scenario %s: %s\n# kernel %s\n" % (sc.name, sc.title, os.uname().release))
        if sc.late > 0.25:
            f.write("# late %.2f\n" % sc.late)
        f.write("\n".join(sc.rec) + "\n")
    if not CFG.get("keep_ns"):
        setns(INIT_NS)
        for f in sc.snmp:
            f.close()
        for fd in list(sc.fd.values()) + [sc.ns]:
            os.close(fd)


if __name__ == "__main__":
    CFG = json.load(open(sys.argv[1]))
    INIT_NS = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    log("BOOTED")
    try:
        main()
        log("DONE")
    except Exception as e:
        import traceback
        log("FAILED " + traceback.format_exc())
