package sessiontest

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The sentences that failures print are those of package session.
func TestSentences(t *testing.T) {
	var source strings.Builder
	for _, name := range []string{"../store.go", "../session.go"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		for _, word := range strings.Fields(string(text)) {
			if word != "//" {
				source.WriteString(word + " ")
			}
		}
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, "contract.go", nil, 0)
	require.NoError(t, err)
	pkg, err := new(types.Config).Check("contract", files, []*ast.File{file}, nil)
	require.NoError(t, err)
	require.NotEmpty(t, pkg.Scope().Names())
	for _, name := range pkg.Scope().Names() {
		sentence := constant.StringVal(pkg.Scope().Lookup(name).(*types.Const).Val())
		require.Contains(t, source.String(), sentence, name)
	}
}
