// Package clientip finds the address of the client of a request.
package clientip

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// header is the header to which each proxy appends the address of its client.
const header = "X-Forwarded-For"

// maxHops is how many entries of the header are read at most.
const maxHops = 32

// Of returns the address of the client: that of the connection, as a text. Only if this address is in trusted, or if some are
// trusted and the connection comes through a Unix socket, the header X-Forwarded-For is read, from its end. The client is
// the first address there that is not trusted, because the proxies that are trusted have written everything up to it. What
// stands before it can be a lie.
//
// If an entry is no address, or the header ends, or it has more than 32 trusted hops, the result is the last address
// that was good. An address of the header is in its shortest form, IPv4 as IPv4, without a port or a zone.
//
// ignored reports that there probably is a proxy that nobody has named: the request has the header, no proxy is
// trusted, and the connection comes from a private or local address or from a Unix socket.
func Of(r *http.Request, trusted []netip.Prefix) (address string, ignored bool) {
	address = connection(r)
	lines := r.Header[header]
	if len(lines) == 0 {
		return address, false
	}
	ip, ok := parse(address)
	if len(trusted) == 0 {
		return address, !ok || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()
	}
	if !contain(trusted, ip) && !isUnixSocket(address) {
		return address, false
	}
	hops := 0
	for _, line := range slices.Backward(lines) {
		for more := true; more; hops++ {
			var entry string
			line, entry, more = cutLast(line)
			ip, ok := parsePort(strings.Trim(entry, " \t"))
			if !ok || hops == maxHops {
				return address, false
			}
			address = ip.String()
			if !contain(trusted, ip) {
				return address, false
			}
		}
	}
	return address, false
}

// connection returns the address at the other end of the connection, without the port.
func connection(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// isUnixSocket reports whether a connection comes through a Unix socket, and so from a program on this machine. Such an address
// is a path, or begins with @.
func isUnixSocket(address string) bool {
	return strings.HasPrefix(address, "@") || strings.HasPrefix(address, "/")
}

// cutLast takes the last entry from a list.
func cutLast(list string) (before, last string, more bool) {
	i := strings.LastIndexByte(list, ',')
	if i < 0 {
		return "", list, false
	}
	return list[:i], list[i+1:], true
}

// parse reads an address without a port.
func parse(text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	return ip.Unmap().WithZone(""), err == nil
}

// parsePort reads an address that may have a port. An IPv6 address may stand in brackets, and with a port it must.
func parsePort(text string) (netip.Addr, bool) {
	host, port, hasPort := text, "", false
	if inner, ok := strings.CutPrefix(text, "["); ok {
		var rest string
		host, rest, ok = strings.Cut(inner, "]")
		port, hasPort = strings.CutPrefix(rest, ":")
		if !ok || !hasPort && rest != "" || !strings.Contains(host, ":") {
			return netip.Addr{}, false
		}
	} else if before, after, ok := strings.Cut(text, ":"); ok && !strings.Contains(after, ":") {
		host, port, hasPort = before, after, true
	}
	if _, err := strconv.ParseUint(port, 10, 16); hasPort && err != nil {
		return netip.Addr{}, false
	}
	return parse(host)
}

// contain reports whether one of the prefixes contains the address. The address must not be an IPv4-mapped IPv6 address. A
// prefix may be one: it matches the IPv4 address.
func contain(prefixes []netip.Prefix, ip netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(ip) || p.Addr().Is4In6() && ip.Is4() && p.Contains(netip.AddrFrom16(ip.As16())) {
			return true
		}
	}
	return false
}

// nat64 is the well-known prefix behind which gateways show IPv4 addresses (RFC 6052). All of IPv4 is in one /64 there.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// nat64Local is for gateways of a private network, which may put the IPv4 address anywhere into the rest (RFC 8215).
var nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")

// Client returns the address by which a client is known: an IPv4 address in each of its forms is one client, and so is an IPv6
// /64, because one client often owns all of its addresses. The address may have a port, as that of a connection has. ok is
// false for a text that is no address.
func Client(address string) (client netip.Addr, ok bool) {
	ip, ok := parsePort(address)
	if !ok {
		return netip.Addr{}, false
	}
	switch long := ip.As16(); {
	case nat64.Contains(ip):
		ip = netip.AddrFrom4([4]byte(long[12:]))
	case ip.Is6() && !nat64Local.Contains(ip):
		ip = netip.PrefixFrom(ip, 64).Masked().Addr()
	}
	return ip, true
}

// Network returns the network of an address that one client has for itself: the /64 of an IPv6 address, or an IPv4 address. A text
// that is no address is returned as it is.
func Network(address string) string {
	if client, ok := Client(address); ok {
		return client.String()
	}
	return address
}
