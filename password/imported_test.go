package password_test

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

const (
	// The reference implementation of Argon2 (github.com/P-H-C/phc-winner-argon2, src/test.c, version 0x13) made it.
	argon2iHash = "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E"
	// The argon2 program of Debian made them.
	argon2iCut = "$argon2i$v=19$m=1024,t=3,p=2$c29tZXNhbHQ4Ynl0ZXM$UBeFG990UT0Z7lYUbH4m9A"
	argon2id   = "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ4Ynl0ZXM$rBonAT0Rh4AZaYGiMi4e+ATySGsxnkYKTWXX+AMpvHA"
)

// importedVectors are hashes that other programs made. The fuzz target starts from them too.
var importedVectors = []struct{ name, password, hash string }{
	{"argon2i of the reference", "password", argon2iHash},
	{"argon2i, key of 16 bytes", "pässword", argon2iCut},
	{"argon2i, other order", "password", strings.Replace(argon2iHash, "m=256,t=2,p=2", "p=2,t=2,m=256", 1)},
	{"argon2i, padded", "password", "$argon2i$v=19$t=2,m=256,p=2$c29tZXNhbHQ=$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E="},
	{"argon2id, other order and padded", "pässword", strings.NewReplacer("m=256,t=2", "t=2,m=256", "ZXM$", "ZXM=$").Replace(argon2id)},
	{"bcrypt", "U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},

	// The documents of Spring Security, "Password Storage", and its Pbkdf2PasswordEncoderTests. scrypt of version 5.8:
	// Python's hashlib, with the costs of that version.
	{"{bcrypt}", "password", "{bcrypt}$2a$10$dXJ3SW6G7P50lGmMkkmwe.20cQQubK3.HZWzG3YB1tlRy.fqvM/BG"},
	{"{argon2}", "pässword", "{argon2}" + argon2id},
	{"{argon2}, argon2i", "password", "{argon2}" + argon2iHash},
	{"{argon2} 5.8", "pässword", "{argon2@SpringSecurity_v5_8}" + argon2id},
	{"{scrypt}", "password", "{scrypt}$e0801$8bWJaSu2IKSn9Z9kM+TPXfOc/9bdYSrN1oD9qfVThWEwdRTnO7re7Ei+fUZRJ68k9lTyuTeUp4of4g24hHnazw==$OAOec05+bXxvuu/1qZ6NUR+xQYvYv7BeL1QxwRpY5Pc="},
	{"{scrypt} 5.8", "pässword", "{scrypt@SpringSecurity_v5_8}$100801$AAECAwQFBgcICQoLDA0ODw==$af3quOw/APBoUD8adF/dCYhq45t9dVccCS6mBWzM/3s="},
	{"{pbkdf2}", "password", "{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6bf3b508fbf17fa4ed4d6b99ca763d8dc"},
	{"{pbkdf2} 5.8", "password", "{pbkdf2@SpringSecurity_v5_8}fefe5120467e5d4ccff442dbb2fa86d276262d97435c0c54e5eebced51ffd144fcb05eb53fea2677216c4f3250010006"},

	// Django 3.2.25 of Debian, with bcrypt of libxcrypt. The last one: tests/auth_tests/test_hashers.py of Django 4.0.
	{"Django bcrypt", "pässword", "bcrypt$$2b$04$hR4aZVmz3.yYmzhC9Di.SeaVds9eFoA3qYKWn/rON9iX..n.e6u4G"},
	{"Django bcrypt_sha256", "pässword", "bcrypt_sha256$$2b$04$uEp/ODJNpf3Ywjr4.Ns3pOcsXnRpl9vHyxQhc/Qv9ue45dZ2srP5."},
	{"Django argon2id", "pässword", "argon2" + argon2id},
	{"Django argon2i", "password", "argon2" + argon2iHash},
	{"Django pbkdf2_sha256", "pässword", "pbkdf2_sha256$1000$eH7hPG1QaE9fmrw5KWo4lq$NGGLK1X2wwPJEE1GYwjdA87SCcIE4KRR/Fxr3kUgEck="},
	{"Django pbkdf2_sha256, default costs", "lètmein", "pbkdf2_sha256$260000$seasalt$YlZ2Vggtqdc61YjArZuoApoBh9JNGYoDRBUGu6tcJQo="},
	{"Django pbkdf2_sha1", "pässword", "pbkdf2_sha1$1000$h15myLhuHnDbqOHWXP7N0T$0xFivGmq5I52CSUyWU0qtcWx8O4="},
	{"Django scrypt", "lètmein", "scrypt$16384$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw=="},

	// passlib 1.7.4 of Debian; bcrypt-sha256 is of its tests, passlib/tests/test_handlers_bcrypt.py.
	{"passlib pbkdf2", "pässword", "$pbkdf2$1000$R2iNcS7lnJNSSimF8H5PyQ$gxcHLmQwRLlvY1oCl0ruv0agSw4"},
	{"passlib pbkdf2-sha256", "pässword", "$pbkdf2-sha256$1000$6n2PkdJaC6F0LmWsdY6R8g$sQIa8RZh9cxNhaCADNlt/bp.kyvkncRXTaGZGSIY4xE"},
	{"passlib pbkdf2-sha512", "pässword", "$pbkdf2-sha512$1000$u1dqLaVUCqG0NqZ0jtH6nw$msZkiYa4Uv4alW/qqOhFdDGwWisxRBq2MmqxqaYlAFd4v35SJig5r7.9Vahn/lNaxpYrvKHBq0YoKL8ZEIRLwQ"},
	{"passlib pbkdf2-sha256, dots", "pässword", "$pbkdf2-sha256$1000$....//8$MgM6Sv03s0Z6MgfMO6QnZpOt.G.9BzBlNYkwnbOdWjY"},
	{"passlib scrypt", "pässword", "$scrypt$ln=10,r=8,p=1$nvP+/59TCgFgLKUUohTCWA$CUWxtKkKoe5yE3BWfqW4VZIyQWaxgwebVqraqRwEMyo"},
	{"passlib scrypt, two lanes", "pässword", "$scrypt$ln=4,r=4,p=2$p1SqVSrFuNcaA6B07p2zVg$WOLXYImnTyhguUyPwoIoFvZaJh0Ca8kB2J8foeoxccg"},
	{"passlib bcrypt-sha256", "password", "$bcrypt-sha256$v=2,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
	{"passlib bcrypt-sha256, long", strings.Repeat("abc123", 12) + "qwr", "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$CBF9csfEdW68xv3DwE6xSULXMtqEFP."},
	{"passlib bcrypt-sha256, empty", "", "$bcrypt-sha256$v=2,t=2b,r=5$E/e/2AOhqM5W/KJTFQzLce$WFPIZKtDDTriqWwlmRFfHiOTeheAZWe"},
	{"passlib bcrypt-sha256, first version", "password", "$bcrypt-sha256$2b,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},
	{"passlib bcrypt-sha256, first version, 2a", "password", "$bcrypt-sha256$2a,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},

	// Python's hashlib, in the form of the npm package @phc/pbkdf2 and of RustCrypto (with l).
	{"PHC pbkdf2-sha1", "pässword", "$pbkdf2-sha1$i=1000$AAECAwQFBgcICQoLDA0ODw$LXLUTXEwz3bsvdnCGyPh0mNzhGsT3JIejK/YM3IjVHA"},
	{"PHC pbkdf2-sha256", "pässword", "$pbkdf2-sha256$i=1000$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"},
	{"PHC pbkdf2-sha256 with l", "pässword", "$pbkdf2-sha256$i=1000,l=32$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw"},
	{"PHC pbkdf2-sha512", "pässword", "$pbkdf2-sha512$i=1000$AAECAwQFBgcICQoLDA0ODw$y/eRj2FwHgs6A0d8wKheOWOR5PjlKZUVEID5K8lrpY0"},

	// Werkzeug 2.2.2 of Debian. scrypt came with version 2.3: Python's hashlib, with the call of Werkzeug's source.
	{"Werkzeug sha1", "pässword", "pbkdf2:sha1:1000$7ViB37xC01QVPDGR$0cbf573eeeb9f03e5a7c4a2d9b0ca548917a4536"},
	{"Werkzeug sha256", "pässword", "pbkdf2:sha256:1000$10BzqsoCwON4gvPL$5eaa7d2f8f16fc073f52408f33c34e1acefabdc5845c46e5f56a0670b75350d1"},
	{"Werkzeug sha512", "pässword", "pbkdf2:sha512:1000$M2ZJYJo2cXbxACtS$dea277e75ecf3c5fd9ea6dbe2d7bb4701ba19c8cdaa363d709064ca3c574056ca1d810e8d93dbebf7dd891f824ac72b45f01fdbe4ff2e438d4269f004f41ffa2"},
	{"Werkzeug scrypt", "pässword", "scrypt:1024:8:1$8x3lLrEwDbuWBPfM$db6a64884e86b32110356c888ac9babcae282d60e6c2f76afcb35b625a66370eccc486822134fc203521a425ceb5011253737034dbde6b3e480256c188badea6"},
	{"Werkzeug scrypt, two lanes", "pässword", "scrypt:16384:8:2$8x3lLrEwDbuWBPfM$09b82df558866fed1625fcb307d21834bd3b1c67d2f7bb284f9de58ba026d88decf7aecc362d0f64ce771bcd7f3fa4d2a9057f4a809d88fcc92b388bf67817ad"},

	// github.com/dotnet/aspnetcore, PasswordHasherTest.cs.
	{"ASP.NET 2", "my password", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg=="},
	{"ASP.NET 3, SHA-1", "my password", "AQAAAAAAAAD6AAAAEAhftMyfTJylOlZT+eEotFXd1elee8ih5WsjXaR3PA9M"},
	{"ASP.NET 3, SHA-256", "my password", "AQAAAAEAA9CQAAAAIESkQuj2Du8Y+kbc5lcN/W/3NiAZFEm11P27nrSN5/tId+bR1SwV8CO1Jd72r4C08OLvplNlCDc3oQZ8efcW+jQ="},
	{"ASP.NET 3, SHA-512, small", "my password", "AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw"},
	{"ASP.NET 3, SHA-512, large", "my password", "AQAAAAIAAAD6AAAAIJbVi5wbMR+htSfFp8fTw8N8GOS/Sje+S/4YZcgBfU7EQuqv4OkVYmc4VJl9AGZzmRTxSkP7LtVi9IWyUxX8IAAfZ8v+ZfhjCcudtC1YERSqE1OEdXLW9VukPuJWBBjLuw=="},
}

func TestImportedVectors(t *testing.T) {
	for _, tc := range importedVectors {
		t.Run(tc.name, func(t *testing.T) {
			requireVerify(t, password.Imported{}, tc.hash, tc.password, true, true)
			requireVerify(t, password.Imported{}, tc.hash, tc.password+"x", false, false)
			requireFault(t, password.Imported{}, tc.hash, strings.Repeat("a", password.MaxLength+1), password.ErrTooLong)
		})
	}
}

func TestImportedMakesNoHash(t *testing.T) {
	hash, err := password.Imported{}.Hash("secret password")
	require.Empty(t, hash)
	require.ErrorContains(t, err, "verifies hashes and makes none")
	require.NotContains(t, err.Error(), "secret")
}

// TestImportedCut cuts the vectors at each place. A cut hash is one that no password matches, or none at all.
func TestImportedCut(t *testing.T) {
	for _, tc := range importedVectors {
		if strings.Contains(tc.name, "ASP.NET 3") || strings.Contains(tc.name, "argon2") ||
			strings.Contains(tc.name, "scrypt") && tc.hash[0] != 's' || strings.Contains(tc.name, "PHC") {
			continue // the length of these keys is free, down to 16 bytes
		}
		for i := range tc.hash {
			requireFault(t, password.Imported{}, tc.hash[:i], tc.password, password.ErrFormat)
		}
		requireFault(t, password.Imported{}, tc.hash+"A", tc.password, password.ErrFormat)
	}
}

// aspnet makes a hash of version 3 with a salt and a key of zeros.
func aspnet(digest, iterations, saltSize uint32, rest int) string {
	raw := []byte{1}
	for _, n := range []uint32{digest, iterations, saltSize} {
		raw = binary.BigEndian.AppendUint32(raw, n)
	}
	return base64.StdEncoding.EncodeToString(append(raw, make([]byte, rest)...))
}

func TestImportedFormat(t *testing.T) {
	const key32, key64 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	hex32 := strings.Repeat("00", 32)
	hex64 := strings.Repeat("00", 64)
	argon := func(old, new string) string { return strings.Replace(argon2iHash, old, new, 1) }
	for _, hash := range []string{ // the cases change one thing in these
		"{scrypt}$40801$AAAA$" + key32 + "=", "{scrypt}$21008$AAAA$" + key32 + "=", "{pbkdf2}" + strings.Repeat("00", 40),
		"pbkdf2_sha256$1000$salt$" + key32 + "=", "scrypt$16$salt$8$1$" + key64 + "==", "scrypt$2$salt$64$16$" + key64 + "==",
		"scrypt$8192$salt$8$10$" + key64 + "==", // OWASP's parameters
		"$pbkdf2-sha256$1000$AAAA$" + key32, "$scrypt$ln=4,r=8,p=1$AAAA$" + key32, "$scrypt$p=1,ln=4,r=8$AAAAAA==$" + key32 + "=",
		"$pbkdf2-sha256$i=1000,l=32$AAAAAAAA$" + key32, "$pbkdf2-sha256$l=32,i=1000$AAAA$" + key32, "$pbkdf2-sha256$i=1000$AAAA$" + key64,
		"pbkdf2:sha256:1000$salt$" + hex32, "scrypt:1024:8:1$salt$" + hex64,
		aspnet(1, 1000, 16, 48), aspnet(1, 1000, 32, 48), aspnet(1, 1000, 16, 16+64), base64.StdEncoding.EncodeToString(make([]byte, 49)),
	} {
		requireVerify(t, password.Imported{}, hash, "password", false, false)
	}
	for _, tc := range []struct{ name, hash string }{
		{"empty", ""},
		{"plain text", "password"},
		{"plain text of base64", "AQAAAAEAACcQAAAA"},
		{"{noop}", "{noop}password"},
		{"{MD5}", "{MD5}{salt}f2c1d7a1a8a4a9b8b1a4f8d6e8c4a3b2"},
		{"{sha256}", "{sha256}97cde38028ad898ebc02e690819fa220e88c62e0699403e94fff291cfffaf8410849f27605abcbc0"},
		{"{ldap}", "{SSHA}xYZ0aGlzIGlzIGEgdGVzdA=="},
		{"MD5 in hex", "5f4dcc3b5aa765d61d8327deb882cf99"},
		{"SHA-256 in hex", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"},
		{"SHA-256 in base64", "XohImNooBHFR0OVvjcYpJ3NgPQ1qq73WKhHvch0VQtg="},
		{"Django md5", "md5$seasalt$3f86d0d3d465b7b458c231bf3555c0e3"},
		{"Django unsalted_md5", "md5$$88a434c88cca4e900f7874cd98123f43"},
		{"Django sha1", "sha1$seasalt$cff36ea83f5706ce9aa7454e63e431fc726b2dc8"},
		{"Django unusable", "!uFc0LmJ6Tu8HgqQZkjkAWcCBTlqPTsVJ"},
		{"Werkzeug sha256", "sha256$salt$" + hex32},
		{"Werkzeug plain", "plain$$password"},
		{"md5crypt", "$1$c29tZXNh$T1XOJ2mh1XTIpJHfCdQan7"},
		{"sha512crypt", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjlO"},
		{"phpass", "$P$BgJCwjE3wMUYmPjWTgtmZAJEAwDDDD0"},
		{"only separators", "$$$$$"},
		{"only braces", "{}"},
		{"only a brace", "{"},
		{"only a colon", ":$:$:"},
		{"a million separators", strings.Repeat("$", 1_000_000)},

		{"argon2d", argon("argon2i", "argon2d")},
		{"argon2i without a version", argon("$v=19", "")},
		{"argon2i v=16", argon("v=19", "v=16")},
		{"argon2i m twice", argon("t=2", "m=256")},
		{"argon2i without p", argon(",p=2", "")},
		{"argon2i with another parameter", argon("p=2", "p=2,keyid=1")},
		{"argon2i p=258", argon("m=256,t=2,p=2", "m=4096,t=2,p=258")},
		{"argon2i over 1 GiB", argon("m=256", "m=1048577")},
		{"argon2i t=65", argon("t=2", "t=65")},
		{"argon2i m=2^32", argon("m=256", "m=4294967296")},
		{"argon2i m under 8 a lane", argon("m=256", "m=15")},
		{"argon2i short salt", argon("c29tZXNhbHQ", "c29tZXNhbA")},
		{"argon2i short key", "$argon2i$v=19$m=256,t=2,p=2$c29tZXNhbHQ$" + key32[:20]},
		{"argon2i padded once too often", argon2iHash + "=="},
		{"argon2i with a newline", argon2iHash + "\n"},

		{"{bcrypt} without a hash", "{bcrypt}"},
		{"{bcrypt} of argon2", "{bcrypt}" + argon2iHash},
		{"{bcrypt} within", "{bcrypt}{bcrypt}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"{bcrypt} without an end", "{bcrypt$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"{bcrypt} of cost 19", "{bcrypt}$2a$19$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
		{"{argon2} with text before", "{argon2}x" + argon2iHash},
		{"{argon2@other}", "{argon2@other}" + argon2iHash},
		{"{scrypt} with text before", "{scrypt}x$40801$AAAA$" + key32 + "="},
		{"{scrypt} of 2 GiB", "{scrypt}$150801$AAAA$" + key32 + "="},
		{"{scrypt} N=2^255", "{scrypt}$ff0801$AAAA$" + key32 + "="},
		{"{scrypt} N=1", "{scrypt}$00801$AAAA$" + key32 + "="},
		{"{scrypt} r=0", "{scrypt}$e0001$AAAA$" + key32 + "="},
		{"{scrypt} p=0", "{scrypt}$e0800$AAAA$" + key32 + "="},
		{"{scrypt} not hex", "{scrypt}$e080g$AAAA$" + key32 + "="},
		{"{scrypt} without a salt", "{scrypt}$e0801$$" + key32 + "="},
		{"{pbkdf2} of another length", "{pbkdf2}" + hex32},
		{"{pbkdf2} not hex", "{pbkdf2}" + strings.Repeat("zz", 40)},
		{"{pbkdf2} in the length of 5.8", "{pbkdf2}" + strings.Repeat("00", 48)},

		{"Django bcrypt of another", "bcrypt$" + argon2iHash},
		{"Django argon2d", "argon2" + argon("argon2i", "argon2d")},
		{"Django pbkdf2_sha512", "pbkdf2_sha512$1000$salt$" + key64 + "=="},
		{"Django pbkdf2 over the bound", "pbkdf2_sha256$10000001$salt$" + key32 + "="},
		{"Django pbkdf2 0 rounds", "pbkdf2_sha256$0$salt$" + key32 + "="},
		{"Django pbkdf2 -1 rounds", "pbkdf2_sha256$-1$salt$" + key32 + "="},
		{"Django pbkdf2 2^64+1 rounds", "pbkdf2_sha256$18446744073709551617$salt$" + key32 + "="},
		{"Django pbkdf2 without a salt", "pbkdf2_sha256$1000$$" + key32 + "="},
		{"Django pbkdf2 not padded", "pbkdf2_sha256$1000$salt$" + key32},
		{"Django pbkdf2 cut", "pbkdf2_sha256$1000$salt$" + key32[:24]},
		{"Django scrypt N=3", "scrypt$3$salt$8$1$" + key64 + "=="},
		{"Django scrypt of 2 GiB", "scrypt$2097152$salt$8$1$" + key64 + "=="},
		{"Django scrypt of 9 lanes of 1 GiB", "scrypt$1048576$salt$8$9$" + key64 + "=="},
		{"Django scrypt p=17", "scrypt$16384$salt$8$17$" + key64 + "=="},
		{"Django scrypt r=65", "scrypt$2$salt$65$1$" + key64 + "=="},
		{"Django scrypt r=2^30", "scrypt$2$salt$1073741824$1$" + key64 + "=="},
		{"Django scrypt cut", "scrypt$16384$salt$8$1$" + key32 + "="},
		{"Django scrypt without a salt", "scrypt$16384$$8$1$" + key64 + "=="},

		{"passlib pbkdf2-sha1", "$pbkdf2-sha1$1000$AAAAAAAA$" + key32[:27]},
		{"passlib pbkdf2-md5", "$pbkdf2-md5$1000$AAAAAAAA$" + key32[:22]},
		{"passlib pbkdf2 with a plus sign", "$pbkdf2-sha256$1000$++++$" + key32},
		{"passlib pbkdf2 padded", "$pbkdf2-sha256$1000$AAAA$" + key32 + "="},
		{"passlib pbkdf2 unused bits", "$pbkdf2-sha256$1000$AAAA$" + key32[:42] + "B"},
		{"passlib pbkdf2 over the bound", "$pbkdf2-sha256$10000001$AAAA$" + key32},
		{"passlib pbkdf2 01000", "$pbkdf2-sha256$01000$AAAA$" + key32},
		{"passlib scrypt without r", "$scrypt$ln=4,p=1$AAAA$" + key32},
		{"passlib scrypt ln=64", "$scrypt$ln=64,r=8,p=1$AAAA$" + key32},
		{"passlib scrypt ln=2^31-1", "$scrypt$ln=2147483647,r=8,p=1$AAAA$" + key32},
		{"passlib scrypt ln=31", "$scrypt$ln=31,r=8,p=1$AAAA$" + key32},
		{"passlib scrypt ln=0", "$scrypt$ln=0,r=8,p=1$AAAA$" + key32},
		{"passlib scrypt short key", "$scrypt$ln=10,r=8,p=1$AAAA$" + key32[:20]},
		{"passlib bcrypt-sha256 v=3", "$bcrypt-sha256$v=3,t=2b,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib bcrypt-sha256 t=2a", "$bcrypt-sha256$v=2,t=2a,r=5$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib bcrypt-sha256 r=05", "$bcrypt-sha256$v=2,t=2b,r=05$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib bcrypt-sha256 r=19", "$bcrypt-sha256$v=2,t=2b,r=19$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib bcrypt-sha256 r=3", "$bcrypt-sha256$v=2,t=2b,r=3$5Hg1DKFqPE8C2aflZ5vVoe$wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"},
		{"passlib bcrypt-sha256 2y", "$bcrypt-sha256$2y,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},
		{"passlib bcrypt-sha256, salt and key moved", "$bcrypt-sha256$2b,5$5Hg1DKFqPE8C2aflZ5vVo$e12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"},

		{"PHC pbkdf2", "$pbkdf2$i=1000$AAAAAAAA$" + key32},
		{"PHC pbkdf2 l of another key", "$pbkdf2-sha256$i=1000,l=16$AAAAAAAA$" + key32},
		{"PHC pbkdf2 with a dot", "$pbkdf2-sha256$i=1000$....$" + key32},
		{"PHC pbkdf2 over the bound", "$pbkdf2-sha256$i=10000001$AAAA$" + key32},
		{"PHC pbkdf2 long key", "$pbkdf2-sha256$i=1000$AAAA$" + key64 + "AA"},

		{"Werkzeug without rounds", "pbkdf2:sha256$salt$" + hex32},
		{"Werkzeug md5", "pbkdf2:md5:1000$salt$" + hex32[:32]},
		{"Werkzeug over the bound", "pbkdf2:sha256:10000001$salt$" + hex32},
		{"Werkzeug without a salt", "pbkdf2:sha256:1000$$" + hex32},
		{"Werkzeug of another length", "pbkdf2:sha256:1000$salt$" + hex64},
		{"Werkzeug not hex", "pbkdf2:sha256:1000$salt$" + hex32[:62] + "zz"},
		{"Werkzeug scrypt without costs", "scrypt$salt$" + hex64},
		{"Werkzeug scrypt 2 GiB", "scrypt:2097152:8:1$salt$" + hex64},
		{"Werkzeug scrypt p=0", "scrypt:1024:8:0$salt$" + hex64},

		{"ASP.NET 3 unknown digest", aspnet(3, 1000, 16, 48)},
		{"ASP.NET 3 0 rounds", aspnet(1, 0, 16, 48)},
		{"ASP.NET 3 over the bound", aspnet(1, 10_000_001, 16, 48)},
		{"ASP.NET 3 2^32-1 rounds", aspnet(1, 1<<32-1, 16, 48)},
		{"ASP.NET 3 salt of 15", aspnet(1, 1000, 15, 48)},
		{"ASP.NET 3 salt over the end", aspnet(1, 1000, 33, 48)},
		{"ASP.NET 3 salt of 2^32-1", aspnet(1, 1000, 1<<32-1, 48)},
		{"ASP.NET 3 long key", aspnet(1, 1000, 16, 16+65)},
		{"ASP.NET 3 without a key", aspnet(1, 1000, 16, 16)},
		{"ASP.NET 2 long", base64.StdEncoding.EncodeToString(make([]byte, 50))},
		{"ASP.NET 4", "Ag" + aspnet(1, 1000, 16, 48)[2:]},
		{"ASP.NET not padded", "AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg"},
		{"over 512 bytes", "pbkdf2_sha256$1000$" + strings.Repeat("s", 512) + "$" + key32 + "="},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ok, outdated, err := password.Imported{}.Verify(tc.hash, "password")
			require.ErrorIs(t, err, password.ErrFormat, "Verify(%.200q)", tc.hash)
			require.Equal(t, []bool{false, false}, []bool{ok, outdated}, "Verify(%.200q): ok and outdated", tc.hash)
		})
	}
}
