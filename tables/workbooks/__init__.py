"""Workbooks (XLSX): read with openpyxl, and extended without touching what it does not know."""
