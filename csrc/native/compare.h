/* compare.h -- comparison and hash of a Value.
 */
#ifndef AIE_NATIVE_COMPARE_H
#define AIE_NATIVE_COMPARE_H

#include "write.h"

static int ordering(int op, int difference)
{
    switch (op) {
    case Py_LT:
        return difference < 0;
    case Py_LE:
        return difference <= 0;
    case Py_EQ:
        return difference == 0;
    case Py_NE:
        return difference != 0;
    case Py_GT:
        return difference > 0;
    default:
        return difference >= 0;
    }
}

static int sign(long long left, long long right)
{
    return (left > right) - (left < right);
}

/* Comparison with an int of any size. */
static PyObject *compare_int(Value *self, PyObject *other, int op)
{
    int overflow;
    long long right = PyLong_AsLongLongAndOverflow(other, &overflow);
    if (right == -1 && !overflow && PyErr_Occurred()) {
        return NULL;
    }
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    int difference = overflow ? -overflow : sign(aie_word_value(aie_word_load(word)), right);
    return boolean(ordering(op, difference));
}

static PyObject *value_richcompare(PyObject *op_self, PyObject *other, int op)
{
    Value *self = (Value *)op_self;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return NULL;
    }
    const Table *table = self->table;
    const table_entry *entry = table_by_identity(table, other);
    if (entry != NULL) {
        int32_t left = aie_word_value(aie_word_load(word));
        return boolean(ordering(op, sign(left, entry->number)));
    }
    if (PyLong_Check(other)) {
        return compare_int(self, other, op);
    }
    if (PyObject_TypeCheck(other, table->state->value_type)) {
        aie_word *right = value_word((Value *)other);
        if (right == NULL) {
            return NULL;
        }
        if (((Value *)other)->table->enum_type == table->enum_type) {
            int32_t left = aie_word_value(aie_word_load(word));
            return boolean(ordering(op, sign(left, aie_word_value(aie_word_load(right)))));
        }
    }
    /* A name, or a TypeError: worded in Python, where it may also be asked of an override. */
    PyObject *equality = op == Py_EQ || op == Py_NE ? Py_True : Py_False;
    PyObject *operand =
        PyObject_CallMethodObjArgs(op_self, table->state->str_operand, other, equality, NULL);
    if (operand == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    if (PyLong_Check(operand)) {
        result = compare_int(self, operand, op);
    }
    else {
        PyErr_SetString(PyExc_TypeError, "the operand of a comparison is not an int");
    }
    Py_DECREF(operand);
    return result;
}

static Py_hash_t value_hash(PyObject *op)
{
    Value *self = (Value *)op;
    aie_word *word = value_word(self);
    if (word == NULL) {
        return -1;
    }
    PyObject *number = PyLong_FromLong(aie_word_value(aie_word_load(word)));
    PyObject *key = number == NULL ? NULL : PyTuple_Pack(2, self->table->enum_type, number);
    Py_XDECREF(number);
    if (key == NULL) {
        return -1;
    }
    Py_hash_t hash = PyObject_Hash(key);
    Py_DECREF(key);
    return hash;
}

#endif
