package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
)

// mutant is one change of a file.
type mutant struct {
	file     string
	at       token.Position
	old, new string
}

// apply returns the text of the file with the change.
func (m mutant) apply(text []byte) []byte {
	changed := append([]byte{}, text[:m.at.Offset]...)
	changed = append(changed, m.new...)
	return append(changed, text[m.at.Offset+len(m.old):]...)
}

// operators says by which operators each one is replaced.
var operators = map[token.Token][]string{
	token.EQL: {"!="}, token.NEQ: {"=="}, token.LSS: {"<=", ">="}, token.LEQ: {"<", ">"}, token.GTR: {">=", "<="}, token.GEQ: {">", "<"},
	token.LAND: {"||"}, token.LOR: {"&&"},
	token.ADD: {"-"}, token.SUB: {"+"}, token.MUL: {"/"}, token.QUO: {"*"}, token.REM: {"*"},
	token.AND: {"|"}, token.OR: {"&"}, token.XOR: {"&"}, token.AND_NOT: {"&"}, token.SHL: {">>"}, token.SHR: {"<<"},
	token.ADD_ASSIGN: {"-=", "="}, token.SUB_ASSIGN: {"+=", "="}, token.MUL_ASSIGN: {"/=", "="}, token.QUO_ASSIGN: {"*=", "="},
	token.AND_ASSIGN: {"|=", "="}, token.OR_ASSIGN: {"&=", "="}, token.SHL_ASSIGN: {">>=", "="}, token.SHR_ASSIGN: {"<<=", "="},
	token.INC: {"--"}, token.DEC: {"++"}, token.BREAK: {"continue"}, token.CONTINUE: {"break"},
}

// mutantsOf finds every mutant of a file, in the order of the text: other operators, conditions without their "!", and
// statements that are left out.
func mutantsOf(file string) ([]mutant, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, file, text, 0)
	if err != nil {
		return nil, err
	}
	var list []mutant
	add := func(pos token.Pos, old string, replacements ...string) {
		for _, r := range replacements {
			list = append(list, mutant{file: file, at: set.Position(pos), old: old, new: r})
		}
	}
	leaveOut := func(body []ast.Stmt) {
		for _, s := range body {
			assign, isAssign := s.(*ast.AssignStmt)
			if _, isCall := s.(*ast.ExprStmt); isCall || isAssign && assign.Tok == token.ASSIGN {
				add(s.Pos(), string(text[set.Position(s.Pos()).Offset:set.Position(s.End()).Offset]), "")
			}
		}
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.BinaryExpr:
			add(n.OpPos, n.Op.String(), operators[n.Op]...)
		case *ast.AssignStmt:
			add(n.TokPos, n.Tok.String(), operators[n.Tok]...)
		case *ast.IncDecStmt:
			add(n.TokPos, n.Tok.String(), operators[n.Tok]...)
		case *ast.UnaryExpr:
			if n.Op == token.NOT || n.Op == token.SUB {
				add(n.OpPos, n.Op.String(), "")
			}
		case *ast.BranchStmt:
			add(n.TokPos, n.Tok.String(), operators[n.Tok]...)
		case *ast.BlockStmt:
			leaveOut(n.List)
		case *ast.CaseClause:
			leaveOut(n.Body)
		}
		return true
	})
	return list, nil
}
