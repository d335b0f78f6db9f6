package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
)

// mutant is one change of a file. It can be switched on at run time in a file that holds all mutants (package comment), or it
// is alone, and needs a build of its own.
type mutant struct {
	id         int // from 1
	file       string
	line       int
	start, end int    // the bytes that change
	old, new   string // what they are, and what they become
	kind       kind
	alone      bool
}

// kind says how a mutant is switched on.
type kind int

const (
	truth     kind = iota // an expression that is a bool
	value                 // another expression: both values are computed, and one is taken
	statement             // another statement, also where Go wants a simple one
	omission              // a statement that is left out
)

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

// source is a file that is mutated.
type source struct {
	path    string
	pkg     string
	text    string
	set     *token.FileSet
	mutants []*mutant
}

// readSource finds every mutant of a file: other operators, conditions without their "!", and statements that are left out.
func readSource(path string) (*source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := &source{path: path, text: string(text), set: token.NewFileSet()}
	parsed, err := parser.ParseFile(s.set, path, text, 0)
	if err != nil {
		return nil, err
	}
	s.pkg = parsed.Name.Name
	constants := map[ast.Node]bool{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			ast.Inspect(decl, func(in ast.Node) bool { constants[in] = true; return true })
		}
		s.visit(n, constants[n])
		return true
	})
	return s, nil
}

func (s *source) visit(n ast.Node, constant bool) {
	switch n := n.(type) {
	case *ast.BinaryExpr:
		k := value
		switch n.Op {
		case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ, token.LAND, token.LOR:
			k = truth
		}
		// A division by zero must not happen while the mutant is off.
		s.operator(n, n.OpPos, n.Op, k, constant || n.Op == token.MUL || k == value && !pure(n))
	case *ast.UnaryExpr:
		switch n.Op {
		case token.NOT:
			s.add(n, n.OpPos, "!", "", truth, constant)
		case token.SUB:
			s.add(n, n.OpPos, "-", "", value, constant || !pure(n))
		}
	case *ast.AssignStmt:
		s.operator(n, n.TokPos, n.Tok, statement, false)
	case *ast.IncDecStmt:
		s.operator(n, n.TokPos, n.Tok, statement, false)
	case *ast.BranchStmt:
		s.operator(n, n.TokPos, n.Tok, statement, true)
	case *ast.BlockStmt:
		s.omissions(n.List)
	case *ast.CaseClause:
		s.omissions(n.Body)
	}
}

// omissions are the assignments and the calls that can be left out.
func (s *source) omissions(body []ast.Stmt) {
	for _, stmt := range body {
		switch stmt := stmt.(type) {
		case *ast.ExprStmt:
			if call, ok := stmt.X.(*ast.CallExpr); ok && s.of(call.Fun) == "panic" {
				continue
			}
		case *ast.AssignStmt:
			if stmt.Tok != token.ASSIGN {
				continue
			}
		default:
			continue
		}
		s.add(stmt, stmt.Pos(), s.of(stmt), "", omission, false)
	}
}

func (s *source) operator(n ast.Node, at token.Pos, op token.Token, k kind, alone bool) {
	for _, other := range operators[op] {
		s.add(n, at, op.String(), other, k, alone)
	}
}

// add notes the mutant of n that has other bytes at a position.
func (s *source) add(n ast.Node, at token.Pos, old, other string, k kind, alone bool) {
	start, end, offset := s.offset(n.Pos()), s.offset(n.End()), s.offset(at)
	whole := s.text[start:end]
	m := &mutant{file: s.path, line: s.set.Position(at).Line, start: start, end: end, old: whole, kind: k,
		new: s.text[start:offset] + other + s.text[offset+len(old):end]}
	// The new code is put on one line, so that the lines below keep their numbers.
	m.alone = alone || strings.Contains(m.new, "\n") && (strings.Contains(m.new, "func(") || strings.Contains(m.new, "//") || strings.Contains(m.new, "`"))
	s.mutants = append(s.mutants, m)
}

func (s *source) offset(p token.Pos) int { return s.set.Position(p).Offset }

func (s *source) of(n ast.Node) string { return s.text[s.offset(n.Pos()):s.offset(n.End())] }

// pure reports whether an expression can be computed twice. It knows the calls of which it is sure.
func pure(n ast.Node) bool {
	ok := true
	ast.Inspect(n, func(n ast.Node) bool {
		call, isCall := n.(*ast.CallExpr)
		if !isCall {
			return ok
		}
		switch fun := call.Fun.(type) {
		case *ast.Ident:
		case *ast.SelectorExpr:
			x, _ := fun.X.(*ast.Ident)
			ok = ok && (x != nil && x.Name == "strings" || fun.Sel.Name == "Unix" || fun.Sel.Name == "EncodedLen")
		default:
			ok = false
		}
		return ok
	})
	return ok
}
