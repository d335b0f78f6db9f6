package password

import (
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// work says how much work a hash is, in units of about a microsecond. The fuzz target leaves out those of much work.
func work(read stored) int {
	switch h := read.(type) {
	case argonHash:
		return int(h.costs.memory) * int(h.costs.iterations) * int(h.costs.lanes)
	case scryptHash:
		return h.n * h.r * h.p / 4
	case pbkdf2Hash:
		return h.iterations * (len(h.key)/16 + 1)
	case bcryptHash:
		cost, _ := bcryptCost(h.hash)
		return 60 << cost
	}
	return 0
}

// FuzzHash gives text to all hashers as if it were a stored hash. None panics. All agree with Imported, which reads
// every form. A hash that Go's own bcrypt package refuses is refused.
func FuzzHash(f *testing.F) {
	for _, seed := range []string{
		"", "$", "$$$$$$", "{", "{}", ":$:$:", "{bcrypt}", "{noop}password", "!", "$2a$", "$pbkdf2-sha256$i=1$AA$AA",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"$argon2i$v=19$t=1,p=1,m=64$c29tZXNhbHQ=$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E=",
		"$2b$04$abcdefghijklmnopqrstuuHQRMHradWrjjbPcbpK37RVvfSYCXoLy",
		"{bcrypt}$2a$04$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
		"{argon2@SpringSecurity_v5_8}$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
		"{scrypt}$40801$AAECAwQFBgcICQoLDA0ODw==$af3quOw/APBoUD8adF/dCYhq45t9dVccCS6mBWzM/3s=",
		"{pbkdf2}5d923b44a6d129f3ddf3e3c8d29412723dcbde72445e8ef6bf3b508fbf17fa4ed4d6b99ca763d8dc",
		"bcrypt$$2b$04$hR4aZVmz3.yYmzhC9Di.SeaVds9eFoA3qYKWn/rON9iX..n.e6u4G",
		"bcrypt_sha256$$2b$04$uEp/ODJNpf3Ywjr4.Ns3pOcsXnRpl9vHyxQhc/Qv9ue45dZ2srP5.",
		"argon2$argon2i$v=19$m=64,t=1,p=1$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
		"pbkdf2_sha256$100$eH7hPG1QaE9fmrw5KWo4lq$NGGLK1X2wwPJEE1GYwjdA87SCcIE4KRR/Fxr3kUgEck=",
		"pbkdf2_sha1$100$h15myLhuHnDbqOHWXP7N0T$0xFivGmq5I52CSUyWU0qtcWx8O4=",
		"scrypt$16$seasalt$8$1$Qj3+9PPyRjSJIebHnG81TMjsqtaIGxNQG/aEB/NYafTJ7tibgfYz71m0ldQESkXFRkdVCBhhY8mx7rQwite/Pw==",
		"$pbkdf2$100$R2iNcS7lnJNSSimF8H5PyQ$gxcHLmQwRLlvY1oCl0ruv0agSw4",
		"$pbkdf2-sha512$100$....//8$gN6h7.41kxpkUfoTX3MDYYUS/iXuz3PKERtF.S5gqJjMJ9IbKeDavzlbfaF0bJFYz7Vl75BHk16vQJgBC7kuww",
		"$scrypt$ln=4,r=4,p=2$p1SqVSrFuNcaA6B07p2zVg$WOLXYImnTyhguUyPwoIoFvZaJh0Ca8kB2J8foeoxccg",
		"$bcrypt-sha256$v=2,t=2b,r=4$3RjKK.qQ2/rOpeOJooD/qe$M5lLWDkf/4QawI6Z4pw2bLtYcq6SPWC",
		"$bcrypt-sha256$2b,4$VzeM94DiK7gSI38B7UEEgO$Ag.L1oFwdIfeD1vNqJhwQnKS5v/Oi2a",
		"$pbkdf2-sha256$i=100,l=32$AAECAwQFBgcICQoLDA0ODw$T0Z5wUqa/rr8kWb7KeLsnYrEP6Go8Ns+sglAvd4sSjw",
		"pbkdf2:sha256:100$10BzqsoCwON4gvPL$5eaa7d2f8f16fc073f52408f33c34e1acefabdc5845c46e5f56a0670b75350d1",
		"scrypt:16:8:1$8x3lLrEwDbuWBPfM$db6a64884e86b32110356c888ac9babcae282d60e6c2f76afcb35b625a66370eccc486822134fc203521a425ceb5011253737034dbde6b3e480256c188badea6",
		"AAABAgMEBQYHCAkKCwwNDg+ukCEMDf0yyQ29NYubggHIVY0sdEUfdyeM+E1LtH1uJg==",
		"AQAAAAIAAAAyAAAAEOMwvh3+FZxqkdMBz2ekgGhwQ4B6pZWND6zgESBuWiHw",
	} {
		f.Add(seed, "pässword")
	}
	f.Fuzz(func(t *testing.T, hash, password string) {
		read := readStored(hash)
		known := read != nil && read.valid()
		if known && work(read) > 5_000 {
			return
		}
		ok, outdated, err := Imported{}.Verify(hash, password)
		if known != (err == nil) && err != ErrTooLong || ok != outdated || ok && err != nil {
			t.Fatalf("Imported: %v, %v, %v for a hash that is known: %v", ok, outdated, err, known)
		}
		for _, hasher := range []Hasher{Argon2id{}, Bcrypt{}, PBKDF2{}, Default()} {
			gotOK, gotOutdated, gotErr := hasher.Verify(hash, password)
			if gotErr == ErrFormat && !gotOK && !gotOutdated {
				continue // another form
			}
			if gotOK != ok || gotErr != err || gotOutdated && !gotOK {
				t.Fatalf("%T: %v, %v, %v; Imported: %v, %v", hasher, gotOK, gotOutdated, gotErr, ok, err)
			}
		}
		if _, err := bcrypt.Cost([]byte(hash)); err != nil && known && strings.HasPrefix(hash, "$2") {
			t.Fatalf("bcrypt refuses this hash: %v", err)
		}
	})
}
