package storetest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sentences that failures print are those of the comments.
func TestSentences(t *testing.T) {
	var source strings.Builder
	for _, name := range []string{"../userstore.go", "storetest.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			if comment, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
				source.WriteString(strings.TrimSpace(comment) + " ")
			}
		}
	}
	file, err := parser.ParseFile(token.NewFileSet(), "storetest.go", nil, 0)
	require.NoError(t, err)
	found := 0
	for _, decl := range file.Decls {
		if decl, ok := decl.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			for _, spec := range decl.Specs {
				sentence, err := strconv.Unquote(spec.(*ast.ValueSpec).Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				require.Contains(t, source.String(), sentence)
				found++
			}
		}
	}
	require.NotZero(t, found)
}
