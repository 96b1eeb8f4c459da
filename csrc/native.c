/* native.c -- the CPython module over core.h; its parts are in native/, and nothing else includes
 * Python.h.
 *
 *   native/module_state.h   the module state, and what all types need
 *   native/table.h          Table: the members of one IntEnum, by number and by identity
 *   native/mapping.h        Mapping: one mapped segment
 *   native/bound.h          what Value and Array have in common
 *   native/write.h          a write that has to wait
 *   native/wait.h           every wait: its arguments and its loop
 *   native/value_methods.h  Value: what it does
 *   native/value.h          Value: what IntEnumValue inherits; what it is bound to, and its type
 *   native/row_methods.h    Array: what it does with many words of one segment
 *   native/claim.h          Array: finding a word that can be had
 *   native/row.h            Array: what IntEnumArray inherits; what it is bound to, and its type
 *   native/view.h           View: the values of an Array as a buffer
 *   native/loop.h           Desk: what one event loop has watched for it
 *   native/semlock.h        Lock: what a multiprocessing RLock calls its _semlock: the robust lock
 *                           of one value
 *
 * Rules that keep every sequence of calls of the public API from crashing the interpreter (who
 * calls this module itself can break them, as by two Mappings of one memory):
 *
 *   - Value.word is NULL before __init__ and after close(); every operation loads it, after the
 *     last call that may have run Python code, and raises ValueError on NULL.
 *   - close() only marks the value: what it was bound to stays referenced until the object goes,
 *     so a call in flight in another thread is never unmapped under.
 *   - A call that gives up the GIL works on an object that its caller holds, and that is bound for
 *     good.  A held lock holds the region under it (region.h), since a held robust mutex that is
 *     unmapped breaks the thread's next one.
 *   - At interpreter exit nothing is unmapped any more: daemon threads may still be inside.
 *
 * tp_new stays object's own: with a custom one, CPython 3.12 never specialises method calls on
 * instances with a __dict__.  Hence instances whose __init__ never ran, and the NULL checks.
 *
 * The limited API of 3.11, so one binary serves all later versions; Py_RETURN_NONE and its kin are
 * avoided, because headers of 3.12 and later make them take no reference, which 3.11 needs.
 */
#include "native/loop.h"
#include "native/row.h"
#include "native/semlock.h"
#include "native/value.h"

/* The definition of a method, or of an attribute, in a type's list; NULL if that has none of it. */
static PyMethodDef *find_method(PyMethodDef *method, const char *name)
{
    while (method->ml_name != NULL && strcmp(method->ml_name, name) != 0) {
        method++;
    }
    return method->ml_name == NULL ? NULL : method;
}

static PyGetSetDef *find_getset(PyGetSetDef *getset, const char *name)
{
    while (getset->name != NULL && strcmp(getset->name, name) != 0) {
        getset++;
    }
    return getset->name == NULL ? NULL : getset;
}

PyDoc_STRVAR(descriptor_doc,
             "descriptor($module, cls, name, /)\n--\n\n"
             "A descriptor of a method or attribute of Value's, or Lock's, that belongs to cls, a\n"
             "subclass.\n\n"
             "CPython's specialised method calls need the descriptor's own type to be the\n"
             "instance's exact type, and an attribute's getter walks the MRO when it is not.");

static PyObject *module_descriptor(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    const char *name;
    if (!PyArg_ParseTuple(args, "O!s:descriptor", &PyType_Type, &type, &name)) {
        return NULL;
    }
    module_state *state = PyModule_GetState(module);
    bool of_lock = PyType_IsSubtype(type, state->lock_type);
    if (!of_lock && !PyType_IsSubtype(type, state->value_type)) {
        return PyErr_Format(PyExc_TypeError, "%R is not a subclass of Value or Lock", type);
    }
    PyMethodDef *method = find_method(of_lock ? lock_methods : value_methods, name);
    if (method != NULL) {
        return PyDescr_NewMethod(type, method);
    }
    PyGetSetDef *getset = of_lock ? NULL : find_getset(value_getset, name);
    if (getset != NULL) {
        return PyDescr_NewGetSet(type, getset);
    }
    return PyErr_Format(PyExc_ValueError, "%s has no %s", of_lock ? "Lock" : "Value", name);
}

/* The docstrings of the operations are written once, in Python, for all backends.  Descriptors that
 * were made before show them too: CPython reads ml_doc each time.  The definitions
 * are the process's: the first interpreter that says a docstring says it for all, and it stays. */
static PyObject *module_document(PyObject *module, PyObject *args)
{
    PyTypeObject *type;
    const char *name, *text;
    if (!PyArg_ParseTuple(args, "O!ss:document", &PyType_Type, &type, &name, &text)) {
        return NULL;
    }
    module_state *state = PyModule_GetState(module);
    bool of_value = type == state->value_type;
    PyMethodDef *method = find_method(of_value ? value_methods : array_methods, name);
    PyGetSetDef *getset = find_getset(of_value ? value_getset : array_getset, name);
    if ((!of_value && type != state->array_type) || (method == NULL && getset == NULL)) {
        return PyErr_Format(PyExc_AttributeError, "%R has no operation %s", type, name);
    }
    const char **doc = method != NULL ? &method->ml_doc : &getset->doc;
    /* acquire, and release below: who finds a docstring finds all of it. */
    const char *before = __atomic_load_n(doc, __ATOMIC_ACQUIRE);
    static const char end[] = "--\n\n"; /* of a method's signature */
    size_t signature = strlen(before);
    if (signature > 0
        && (signature < strlen(end) || strcmp(before + signature - strlen(end), end) != 0)) {
        return none(); /* it is there already */
    }
    char *whole = malloc(signature + strlen(text) + 1);
    if (whole == NULL) {
        return PyErr_NoMemory();
    }
    strcpy(whole, before);
    strcpy(whole + signature, text);
    if (!__atomic_compare_exchange_n(doc, &before, whole, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        free(whole);
    }
    return none();
}

static PyObject *module_stop_unmapping(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    /* Only the main interpreter ends with daemon threads inside; the process goes on after others,
     * and would keep their mappings. */
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) != 0) {
        return none();
    }
    FIELD_STORE(((module_state *)PyModule_GetState(module))->exiting, 1);
    return none();
}

/* Of the main interpreter alone: the names are the process's. */
static PyObject *module_end(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) {
        Py_BEGIN_ALLOW_THREADS
        lock_ends();
        aie_regions_end();
        Py_END_ALLOW_THREADS
    }
    return none();
}

static PyObject *module_expire(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    if (aie_regions_linger()) {
        Py_BEGIN_ALLOW_THREADS
        aie_regions_expire();
        Py_END_ALLOW_THREADS
    }
    return none();
}

static PyObject *module_set_spin(PyObject *Py_UNUSED(module), PyObject *microseconds)
{
    double wanted = PyFloat_AsDouble(microseconds);
    if (wanted == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (!(wanted >= 0 && wanted <= 1e6)) {
        PyErr_SetString(PyExc_ValueError, "0 to 1,000,000 microseconds");
        return NULL;
    }
    /* relaxed: any wait that begins later sees it soon enough. */
    atomic_store_explicit(&aie_spin_ns, (int64_t)(wanted * 1000), memory_order_relaxed);
    return none();
}

static PyMethodDef module_methods[] = {
    {"set_spin", module_set_spin, METH_O,
     "set_spin($module, microseconds, /)\n--\n\n"
     "For tests and measurements: how long a wait looks before it sleeps."},
    {"descriptor", module_descriptor, METH_VARARGS, descriptor_doc},
    {"document", module_document, METH_VARARGS,
     "document($module, cls, name, text, /)\n--\n\n"
     "Give an operation of Value or Array its docstring."},
    {"create", module_create, METH_VARARGS,
     "create($module, name, head, size, first, nameless, /)\n--\n\n"
     "Create a segment: its Mapping; or errno and why there is none."},
    {"attach", module_attach, METH_VARARGS,
     "attach($module, name, answer, /)\n--\n\n"
     "Attach a segment: its Mapping; or errno and why there is none."},
    {"peek", module_peek, METH_VARARGS,
     "peek($module, name, /)\n--\n\n"
     "The first bytes of a segment of this user; empty if that is none."},
    {"clean", module_clean, METH_VARARGS,
     "clean($module, name, /)\n--\n\n"
     "Remove the name, if nobody answers for it: 0, or an errno; EBUSY if somebody does."},
    {"Desk", module_desk, METH_NOARGS,
     "Desk($module, /)\n--\n\n"
     "What one event loop has watched for it; OSError if there are no more descriptors."},
    {"expire", module_expire, METH_NOARGS,
     "expire($module, /)\n--\n\n"
     "Let go of what was pickled and was last used long ago."},
    {"end", module_end, METH_NOARGS,
     "end($module, /)\n--\n\n"
     "For the end of the process: stop answering for every name, and strand no lock."},
    {"stop_unmapping", module_stop_unmapping, METH_NOARGS,
     "stop_unmapping($module, /)\n--\n\n"
     "For interpreter exit: keep every mapping from here on."},
    {NULL, NULL, 0, NULL},
};

static PyTypeObject *add_type(PyObject *module, PyType_Spec *spec)
{
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (type != NULL && PyModule_AddType(module, (PyTypeObject *)type) < 0) {
        Py_CLEAR(type);
    }
    return (PyTypeObject *)type;
}

/* The layout as this binary has it, so that the Python side can be checked against it. */
static int add_layout(PyObject *module)
{
    static const struct {
        const char *name;
        long long value;
    } constants[] = {
        {"MAGIC", (long long)AIE_MAGIC},
        {"LAYOUT_VERSION", AIE_LAYOUT_VERSION},
        {"PROTOCOL_ATOMIC", AIE_PROTOCOL_ATOMIC},
        {"LIBC", AIE_LIBC},
        {"MUTEX_SIZE", sizeof(pthread_mutex_t)},
        {"HEADER_SIZE", sizeof(aie_header)},
        {"CONTROL_SIZE", sizeof(aie_control)},
        {"SINGLE_STRIDE", AIE_SINGLE_STRIDE},
        {"VALUE_OFFSET", AIE_VALUE_OFFSET},
        {"VERSION_SHIFT", AIE_VERSION_SHIFT},
        {"LIFE_LOCKS", AIE_LIFE_LOCKS},
        {"ROBUST", AIE_ROBUST},
        {"FUTEX", AIE_FUTEX},
        {"MAX_HELD", AIE_MAX_HELD},
    };
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        PyObject *value = PyLong_FromLongLong(constants[i].value);
        if (value == NULL || PyModule_AddObjectRef(module, constants[i].name, value) < 0) {
            Py_XDECREF(value);
            return -1;
        }
        Py_DECREF(value);
    }
    return 0;
}

static int add_names(module_state *state)
{
    return (state->str_set = PyUnicode_InternFromString("set")) == NULL
                   || (state->str_from_value = PyUnicode_InternFromString("from_value")) == NULL
                   || (state->str_number = PyUnicode_InternFromString("_atomic_number")) == NULL
                   || (state->str_operand = PyUnicode_InternFromString("_atomic_operand")) == NULL
                   || (state->str_make_lock = PyUnicode_InternFromString("_atomic_make_lock"))
                          == NULL
                   || (state->str_is_mine = PyUnicode_InternFromString("is_mine")) == NULL
                   || (state->str_acquire = PyUnicode_InternFromString("acquire")) == NULL
                   || (state->str_release = PyUnicode_InternFromString("release")) == NULL
               ? -1
               : 0;
}

static int module_exec(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    if (PyInterpreterState_GetID(PyInterpreterState_Get()) == 0) {
        aie_regions.ending = false; /* of an interpreter before, where a program embeds them */
    }
    if (add_names(state) < 0 || add_layout(module) < 0
        || (state->table_type = add_type(module, &table_spec)) == NULL
        || (state->mapping_type = add_type(module, &mapping_spec)) == NULL
        || (state->value_type = add_type(module, &value_spec)) == NULL
        || (state->array_type = add_type(module, &array_spec)) == NULL
        || (state->view_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &view_spec, NULL))
               == NULL
        || (state->lock_type = add_type(module, &lock_spec)) == NULL
        || (state->desk_type = (PyTypeObject *)PyType_FromModuleAndSpec(module, &desk_spec, NULL))
               == NULL) {
        return -1;
    }
    return 0;
}

#define FOR_EACH_STATE_FIELD(apply)   \
    do {                              \
        apply(state->table_type);     \
        apply(state->mapping_type);   \
        apply(state->value_type);     \
        apply(state->array_type);     \
        apply(state->view_type);      \
        apply(state->lock_type);      \
        apply(state->desk_type);      \
        apply(state->str_set);        \
        apply(state->str_from_value); \
        apply(state->str_number);     \
        apply(state->str_operand);    \
        apply(state->str_make_lock);  \
        apply(state->str_is_mine);    \
        apply(state->str_acquire);    \
        apply(state->str_release);    \
    } while (0)

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
    module_state *state = PyModule_GetState(module);
    FOR_EACH_STATE_FIELD(Py_VISIT);
    return 0;
}

static int module_clear(PyObject *module)
{
    module_state *state = PyModule_GetState(module);
    FOR_EACH_STATE_FIELD(Py_CLEAR);
    return 0;
}

static void module_free(void *module)
{
    module_clear(module);
}

/* What an interpreter of its own GIL asks for: all state is the module's, but for region.h's list
 * of mappings, which has a mutex.  Part of the stable ABI from 3.12 on, so 3.11's headers have no
 * names for them. */
#define SLOT_MULTIPLE_INTERPRETERS 3
#define PER_INTERPRETER_GIL_SUPPORTED ((void *)2)

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {SLOT_MULTIPLE_INTERPRETERS, PER_INTERPRETER_GIL_SUPPORTED},
    {0, NULL},
};

/* 3.11 refuses a slot that it doesn't know. */
static PyModuleDef_Slot module_slots_of_3_11[] = {
    {Py_mod_exec, (void *)module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_native",
    .m_doc = "The compiled core of atomic_intenum, and its CPython types.",
    .m_size = sizeof(module_state),
    .m_methods = module_methods,
    .m_slots = module_slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC PyInit__native(void)
{
    if (Py_Version < 0x030C0000) { /* of the interpreter that runs */
        module_def.m_slots = module_slots_of_3_11;
    }
    return PyModuleDef_Init(&module_def);
}
