package keys

import (
	"fmt"
	mrand "math/rand/v2"
	"regexp"
	"testing"
)

func TestZRegexp(t *testing.T) {
	re := regexp.MustCompile(`^(\$\{\{?[^{}]*\}?\}|\{\{[^{}]*\}\}|<[\w .,:;'"/-]*>)$`)
	for _, s := range []string{"${{ secrets.SIGNET_JWT_SECRET }}", "{{ .Values.signet.jwtSecret | quote }}", "{{ lookup('env', 'SIGNET_JWT_SECRET') }}", "<your secret here, at least 32 bytes>",
		"<put-the-output-of: openssl rand -base64 48>", "${ssm:/prod/signet/jwt-secret-of-the-service}", "${SIGNET_JWT_SECRET_OF_THE_SERVICE:?is not set}", "${SIGNET_JWT_SECRET_OF_THE_SERVICE}", "{{ .Values.signet.jwtSecret.of.shop }}", "<REPLACE-ME-WITH-A-RANDOM-SECRET>"} {
		if !re.MatchString(s) {
			fmt.Println("misses", s)
		}
	}
	abc := "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!@#$%&*()-_=+[]{}<>:?"
	n, bad := 5_000_000, 0
	for range n {
		var b [32]byte
		for i := range b {
			b[i] = abc[mrand.IntN(len(abc))]
		}
		if re.Match(b[:]) {
			bad++
		}
	}
	fmt.Println("random secrets of 32 signs (Terraform) that match:", bad, "of", n)
}
