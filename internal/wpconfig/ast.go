package wpconfig

// The syntax tree holds only what the evaluator can use. Everything else of PHP
// (functions, classes, closures, match, …) is kept as one opaque node that
// remembers which names its text could set.

type stmt struct {
	line int
	node any // one of the …Stmt types, or an expression
}

type (
	blockStmt []stmt
	ifStmt    struct{ branches []branch } // a nil cond is the else
	branch    struct {
		cond any
		body blockStmt
	}
	foreachStmt struct {
		subject, key, value any // key may be nil
		body                blockStmt
	}
	// loopStmt is for, while and do: the evaluator only asks what the body could do.
	loopStmt struct {
		init []any
		cond []any
		step []any
		body blockStmt
	}
	switchStmt struct {
		subject any
		cases   []branch // a nil cond is the default
	}
	tryStmt struct {
		body    blockStmt
		catches []blockStmt
		finally blockStmt
	}
	constStmt  struct{ items []arrayItem }
	returnStmt struct{ value any }
	breakStmt  struct{ leaves bool } // break, else continue
	unsetStmt  struct{ targets []any }
	funcStmt   struct {
		name string
		does effects
	}
)

// effects are the names that a piece of unread code could set.
type effects struct {
	constants []string
	variables []string
	computed  bool // some name is only known when PHP runs
	returns   bool // it may leave the file
}

type (
	literal   struct{ value any }
	variable  struct{ name string }
	constant  struct{ name string }
	magicDir  struct{}
	magicFile struct{}
	concat    struct{ parts []any }
	binary    struct {
		op          string
		left, right any
	}
	unary struct {
		op string // ! - + ~ @ or a cast such as (int)
		x  any
	}
	ternary struct{ cond, then, otherwise any } // then is nil in ?:
	assign  struct {
		op            string
		target, value any
		yieldsOld     bool // $x++
	}
	index    struct{ base, key any } // key is nil in $a[]
	property struct {
		base any
		name string
	}
	staticProperty struct{}
	call           struct {
		name string // without namespace, lower case
		args []any
	}
	methodCall struct {
		base any
		name string
		args []any
	}
	staticCall struct {
		class, name string // the class without namespace
		args        []any
	}
	newObject struct {
		class string
		args  []any
	}
	arrayLiteral struct{ items []arrayItem }
	arrayItem    struct {
		key, value any // key is nil for the next free index
	}
	issetExpr   struct{ targets []any }
	emptyExpr   struct{ x any }
	includeExpr struct {
		once, must bool
		path       any
	}
	evalExpr struct{ code any }
	exitExpr struct{}
	opaque   struct {
		what string // for people: "a closure"
		does effects
	}
)
