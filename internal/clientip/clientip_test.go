package clientip

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func prefixes(t testing.TB, texts string) (list []netip.Prefix) {
	for text := range strings.FieldsSeq(texts) {
		p, err := netip.ParsePrefix(text)
		require.NoError(t, err)
		list = append(list, p)
	}
	return list
}

func request(remote string, lines ...string) *http.Request {
	r := &http.Request{RemoteAddr: remote, Header: http.Header{}}
	for _, line := range lines {
		r.Header.Add("x-forwarded-for", line)
	}
	return r
}

func TestOf(t *testing.T) {
	const private = "10.0.0.0/8 192.168.7.1/32 fd00::/8"
	for _, tc := range []struct {
		name, remote, trusted string
		lines                 []string
		want                  string
		ignored               bool
	}{
		{"no proxy", "203.0.113.9:1234", "", nil, "203.0.113.9", false},
		{"no proxy, IPv6", "[2001:db8::1]:1234", "", nil, "2001:db8::1", false},
		{"no port", "203.0.113.9", "", nil, "203.0.113.9", false},
		{"Unix socket", "@", "", nil, "@", false},
		{"nothing", "", "", nil, "", false},
		{"header of a client", "203.0.113.9:1234", "", []string{"1.2.3.4"}, "203.0.113.9", false},
		{"header, nobody trusted, private", "10.0.0.1:1", "", []string{"1.2.3.4"}, "10.0.0.1", true},
		{"header, nobody trusted, loopback", "[::1]:1", "", []string{"1.2.3.4"}, "::1", true},
		{"header, nobody trusted, link", "[fe80::1%eth0]:1", "", []string{"1.2.3.4"}, "fe80::1%eth0", true},
		{"header, nobody trusted, Unix socket", "@", "", []string{"1.2.3.4"}, "@", true},
		{"header, this one not trusted", "127.0.0.1:1", private, []string{"1.2.3.4"}, "127.0.0.1", false},
		{"header, Unix socket", "@", private, []string{"1.2.3.4"}, "1.2.3.4", false},
		{"header, Unix socket with a path", "/run/proxy.sock", private, []string{"6.6.6.6, 1.2.3.4, 10.0.0.7"}, "1.2.3.4", false},
		{"no header, Unix socket", "@", private, nil, "@", false},
		{"header, no address", "x", private, []string{"1.2.3.4"}, "x", false},

		{"one proxy", "10.0.0.1:1", private, []string{"203.0.113.9"}, "203.0.113.9", false},
		{"no header", "10.0.0.1:1", private, nil, "10.0.0.1", false},
		{"a lie in front", "10.0.0.1:1", private, []string{"1.2.3.4, 203.0.113.9"}, "203.0.113.9", false},
		{"a lie that looks trusted", "10.0.0.1:1", private, []string{"1.2.3.4,10.0.0.7, 203.0.113.9"}, "203.0.113.9", false},
		{"two proxies", "10.0.0.1:1", private, []string{"1.2.3.4, 203.0.113.9, 192.168.7.1"}, "203.0.113.9", false},
		{"two lines", "10.0.0.1:1", private, []string{"1.2.3.4", "203.0.113.9, fd00::7"}, "203.0.113.9", false},
		{"a line for each proxy", "10.0.0.1:1", private, []string{"203.0.113.9", "10.0.0.2", "10.0.0.3"}, "203.0.113.9", false},
		{"all trusted", "10.0.0.1:1", private, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", false},
		{"a proxy with IPv4 in IPv6", "[::ffff:10.0.0.1]:1", private, []string{"203.0.113.9"}, "203.0.113.9", false},
		{"a prefix with IPv4 in IPv6", "10.0.0.1:1", "::ffff:10.0.0.0/104", []string{"203.0.113.9"}, "203.0.113.9", false},
		{"all of IPv6 is no IPv4", "10.0.0.1:1", "::/0", []string{"203.0.113.9"}, "10.0.0.1", false},
		{"a proxy with a zone", "[fd00::1%eth0]:1", private, []string{"203.0.113.9"}, "203.0.113.9", false},

		{"port", "10.0.0.1:1", private, []string{"203.0.113.9:65535"}, "203.0.113.9", false},
		{"IPv6", "10.0.0.1:1", private, []string{"2001:DB8:0::1"}, "2001:db8::1", false},
		{"IPv6 in brackets", "10.0.0.1:1", private, []string{"[2001:db8::1]"}, "2001:db8::1", false},
		{"IPv6 and port", "10.0.0.1:1", private, []string{"[2001:db8::1]:80"}, "2001:db8::1", false},
		{"zone", "10.0.0.1:1", private, []string{"fe80::1%eth0"}, "fe80::1", false},
		{"IPv4 in IPv6", "10.0.0.1:1", private, []string{"::ffff:203.0.113.9"}, "203.0.113.9", false},
		{"white space", "10.0.0.1:1", private, []string{"1.2.3.4\t,\t 203.0.113.9 \t"}, "203.0.113.9", false},

		{"no address", "10.0.0.1:1", private, []string{"unknown"}, "10.0.0.1", false},
		{"empty", "10.0.0.1:1", private, []string{""}, "10.0.0.1", false},
		{"empty at the end", "10.0.0.1:1", private, []string{"203.0.113.9,"}, "10.0.0.1", false},
		{"empty line at the end", "10.0.0.1:1", private, []string{"203.0.113.9", " "}, "10.0.0.1", false},
		{"no address before a hop", "10.0.0.1:1", private, []string{"1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2", false},
		{"a bad port", "10.0.0.1:1", private, []string{"203.0.113.9:65536"}, "10.0.0.1", false},
		{"no port", "10.0.0.1:1", private, []string{"203.0.113.9:"}, "10.0.0.1", false},
		{"no port in brackets", "10.0.0.1:1", private, []string{"[2001:db8::1]:"}, "10.0.0.1", false},
		{"a signed port", "10.0.0.1:1", private, []string{"203.0.113.9:+80"}, "10.0.0.1", false},
		{"IPv4 in brackets", "10.0.0.1:1", private, []string{"[203.0.113.9]"}, "10.0.0.1", false},
		{"an open bracket", "10.0.0.1:1", private, []string{"[2001:db8::1"}, "10.0.0.1", false},
		{"more after the bracket", "10.0.0.1:1", private, []string{"[2001:db8::1]80"}, "10.0.0.1", false},
		{"octal", "10.0.0.1:1", private, []string{"203.0.113.009"}, "10.0.0.1", false},
		{"a quoted address", "10.0.0.1:1", private, []string{`"203.0.113.9"`}, "10.0.0.1", false},
		{"a line break", "10.0.0.1:1", private, []string{"203.0.113.9\n"}, "10.0.0.1", false},
		{"a semicolon", "10.0.0.1:1", private, []string{"1.2.3.4;203.0.113.9"}, "10.0.0.1", false},
		{"32 hops", "10.0.0.1:1", private, []string{"203.0.113.9" + strings.Repeat(", 10.0.0.2", 31)}, "203.0.113.9", false},
		{"33 hops", "10.0.0.1:1", private, []string{"203.0.113.9, 10.0.0.3" + strings.Repeat(", 10.0.0.2", 31)}, "10.0.0.3", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, ignored := Of(request(tc.remote, tc.lines...), prefixes(t, tc.trusted))
			require.Equal(t, tc.want, got)
			require.Equal(t, tc.ignored, ignored)
		})
	}
}

// A header that is as large as a server takes costs little.
func TestHugeHeaders(t *testing.T) {
	const size = 1 << 20
	for _, unit := range []string{"10.0.0.2,", ",", " ", "a", "[", ":", "10.0.0.2 ", "fd00::1%"} {
		header := strings.Repeat(unit, size/len(unit))
		start := time.Now()
		_, _ = Of(request("10.0.0.1:1", header, header), prefixes(t, "10.0.0.0/8"))
		require.Less(t, time.Since(start), time.Second)
	}
}

// FuzzForwardedFor: whatever a client writes, the address is that of the connection or one that a trusted proxy has written.
func FuzzForwardedFor(f *testing.F) {
	for _, seed := range []string{"", ",", "203.0.113.9", "1.2.3.4, 203.0.113.9:80", "[2001:db8::1]:443", "fe80::1%eth0", "unknown",
		"10.0.0.2, 10.0.0.3", "::ffff:10.0.0.2", "[::ffff:10.0.0.2]", "1.2.3.4,\t10.0.0.2 ,", "[", "]:", "%", "[%]", "\x00", "0.0.0.0:0"} {
		f.Add(seed, "203.0.113.9")
		f.Add("1.2.3.4", seed)
	}
	trusted := prefixes(f, "10.0.0.0/8 fd00::/8")
	f.Fuzz(func(t *testing.T, lie, entry string) {
		got, ignored := Of(request("203.0.113.1:5", lie, entry), trusted)
		require.Equal(t, "203.0.113.1", got)
		require.False(t, ignored)

		got, ignored = Of(request("10.0.0.1:5", lie, entry), trusted)
		require.False(t, ignored)
		if got != "10.0.0.1" {
			ip, err := netip.ParseAddr(got)
			require.NoError(t, err)
			require.Equal(t, ip.Unmap().WithZone("").String(), got)
		}

		// The proxy at 10.0.0.1 appends the address of its client, in the same line or in another.
		for _, lines := range [][]string{{lie, entry, "198.51.100.7"}, {lie, entry + ", 198.51.100.7"}, {lie + "," + entry + ",198.51.100.7:80"}} {
			got, _ = Of(request("10.0.0.1:5", lines...), trusted)
			require.Equal(t, "198.51.100.7", got)
		}
	})
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::", "2001:db8:1:2::9": "2001:db8:1:2::",
		"64:ff9b:1::c000:201": "64:ff9b:1::c000:201", "64:ff9b:1:c000:2:100::": "64:ff9b:1:c000:2:100::", "64:ff9b:2::1": "64:ff9b:2::",
		"64:ff9b::c000:201": "192.0.2.1", "[64:ff9b::198.51.100.7]:80": "198.51.100.7",
		"::ffff:192.0.2.1": "192.0.2.1", "192.0.2.1:80": "192.0.2.1", "[2001:db8::1]:80": "2001:db8::", "[fe80::1%eth0]:80": "fe80::",
		"192.0.2.1:x": "192.0.2.1:x", "": "", "garbage": "garbage"} {
		require.Equal(t, want, Network(address), address)
	}
}
